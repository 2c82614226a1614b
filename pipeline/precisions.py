"""The words for how numbers are kept and multiplied; `pipeline.precision` makes them true. Apart from it, because who
only checks a setting need not import PyTorch."""

PRECISIONS = ("exact", "fast", "smallest")
DEFAULT_PRECISION = "fast"


def check_precision(name: str) -> str:
    """`name` if it is one. Raises ValueError."""
    if name not in PRECISIONS:
        raise ValueError(f"precision is '{name[:40]}'; allowed: {', '.join(PRECISIONS)}")
    return name
