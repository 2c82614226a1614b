"""Compare every stage with golden values: `script/parity --golden FILE --tag TAG [--size mini|full|mini25|full25]`.

Weights and inputs are rebuilt by the golden rule (`pipeline.deterministic`); each stage is fed by the
one before it (`checks.parity_stages`), so the chain is checked along with its parts.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from checks.golden import relative
from checks.parity_stages import SIZES, Chain, Golden, Size, stages
from pipeline.config import ModelConfig, load_config
from pipeline.precisions import PRECISIONS
from pipeline.published import VOCODER, apply_main_config
from pipeline.strict import build, read_yaml, to_dict

LIMIT = 2e-5  # relative L2 error of float32 arrays
GIVEN = ("gpt.codes_used", "gpt.text_ids", "stop.bias", "stop.beam_bias", "length.codes", "length.factors")
COMPUTED_IDS = "gpt.text_ids_kept"
CONFIGS = Path(__file__).resolve().parent.parent / "tests" / "golden"  # of values that come without their own
PUBLISHED_WIDTH = 1280  # of the full sizes


@dataclass(frozen=True)
class Line:
    """One compared array."""

    name: str
    value: str
    limit: str
    ok: bool

    def __str__(self) -> str:
        return f"{self.name:<42} {self.value:>14} {self.limit:>10} {'ok' if self.ok else 'OVER'}"


def compare(name: str, ours: Tensor, golden: np.ndarray, limit: float | None = LIMIT) -> Line:
    """Integers must be equal; floats within `limit` in relative L2. Without a limit all is well."""
    line = _compare(name, ours, golden, LIMIT if limit is None else limit)
    return line if limit is not None else Line(line.name, line.value, "", True)


def _compare(name: str, ours: Tensor, golden: np.ndarray, limit: float) -> Line:
    array = ours.detach().cpu().numpy()
    if array.size == golden.size and array.shape != golden.shape:
        array = array.reshape(golden.shape)
    if array.shape != golden.shape:
        return Line(name, f"shape {array.shape}", str(golden.shape), False)
    if golden.dtype.kind in "iu":
        equal = bool((array == golden).all())
        return Line(name, "equal" if equal else f"{int((array != golden).sum())} differ", "equal", equal)
    error = relative(array, golden)
    return Line(name, f"{error:.2e}", f"{limit:.0e}", error <= limit)


def size_of(golden: Golden) -> str:
    """The name in SIZES of the size that golden values are of."""
    full = (
        golden["gpt.merged_emotion"].shape[-1] * (8 if "gpt.speaker_row" in golden else 1) >= PUBLISHED_WIDTH
    )
    return ("full" if full else "mini") + ("25" if "gpt.speaker_row" in golden else "")


def golden_config(size: Size, directory: Path) -> ModelConfig:
    """The configuration the values were made with: that of the golden folder, of the tests', or ours."""
    values = to_dict(load_config(size.config))
    for name, apply in (
        (f"{size.config}_config.yaml", lambda found: apply_main_config(values, found, "config")),
        (
            f"{size.config.removesuffix('25')}_bigvgan_config.json",
            lambda found: values["vocoder"].update({ours: found[theirs] for ours, theirs in VOCODER.items()}),
        ),
    ):
        path = next((place / name for place in (directory, CONFIGS) if (place / name).is_file()), None)
        if path is not None:
            apply(read_yaml(path))
    return build(ModelConfig, values, size.config)


def run(
    golden_file: Path,
    tag: str,
    size_name: str | None,
    report: Callable[[Line], None],
    precision: str = "exact",
) -> bool:
    """Compare everything in `golden_file`; True when nothing is over its limit and nothing is left out. Only `exact`
    has limits. Without a size, the one the values are of."""
    with np.load(golden_file, allow_pickle=False) as file:
        golden = {name: file[name] for name in file.files}
    size = SIZES[size_name or size_of(golden)]
    left, good = {name for name in golden if not is_given(name)}, True
    chain = Chain(golden, tag, size, golden_config(size, golden_file.parent), precision)
    for name, value in stages(chain):
        if name not in golden:
            continue
        line = compare(name, value, golden[name], LIMIT if precision == "exact" else None)
        report(line)
        good &= line.ok
        left.discard(name)
    for name in sorted(left):
        report(Line(name, "not computed", "", False))
    return good and not left


def is_given(name: str) -> bool:
    """Whether an array is no result but what others are computed from."""
    return name in GIVEN or (name.startswith("gpt.text_ids_") and name != COMPUTED_IDS)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/parity", description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="the .npz file of golden values")
    parser.add_argument("--tag", required=True, help="the tag its inputs were made with")
    parser.add_argument("--size", choices=sorted(SIZES), help="default: the size that the values are of")
    parser.add_argument("--precision", choices=PRECISIONS, default="exact")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    if not options.golden.is_file():
        parser.error(f"no such file: {options.golden}")
    good = run(
        options.golden, options.tag, options.size, lambda line: print(line, flush=True), options.precision
    )
    print("all within limits" if good else "NOT within limits")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
