"""Loss curves as a picture: `python -m training.plots RUN_FOLDER … --out curves.png`."""

import argparse
from pathlib import Path

from training.loop import METRICS

SKIPPED = frozenset({"step", "seconds", "rate"})
PANEL_INCHES = (6.0, 3.0)


def read_metrics(log: Path) -> dict[str, list[tuple[int, float]]]:
    """Values of a metrics log by name, each with its step; lines without a step are notes and are left out.

    A run that went on from a checkpoint wrote some steps twice: the later line counts.
    """
    by_step: dict[int, dict[str, float]] = {}
    for line in log.read_text("utf-8").splitlines():
        pairs = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if "step" in pairs:
            by_step[int(pairs["step"])] = {
                name: float(value) for name, value in pairs.items() if name not in SKIPPED
            }
    curves: dict[str, list[tuple[int, float]]] = {}
    for step in sorted(by_step):
        for name, value in by_step[step].items():
            curves.setdefault(name, []).append((step, value))
    return curves


def plot_logs(logs: list[Path], path: Path) -> None:
    """One panel per metrics log with all its losses, written to `path` (PNG)."""
    import matplotlib  # a development dependency, needed for pictures alone

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        len(logs),
        1,
        squeeze=False,
        layout="constrained",
        figsize=(PANEL_INCHES[0], PANEL_INCHES[1] * len(logs)),
    )
    for log, panel in zip(logs, panels[:, 0], strict=True):
        for name, points in read_metrics(log).items():
            if name not in ("gradient", "perplexity"):
                panel.plot(*zip(*points, strict=True), label=name)
        panel.set(title=log.parent.name if log.name == METRICS else log.stem, xlabel="step", yscale="log")
        panel.legend(fontsize="small")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    plot_logs([folder / METRICS for folder in arguments.folders], arguments.out)


if __name__ == "__main__":
    main()
