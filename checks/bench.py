"""The precisions side by side: `script/bench [--model NAME] [--stages …] [--text] [--whole] [--gate FILE]`.

Stages are timed in turn in one process and compared as ratios with `plain`, float32 by PyTorch's own layers;
a given number of codes is forced, so that every run does the same work whatever the weights. With one thread
(OMP_NUM_THREADS=1) seconds are of CPU time, which a busy machine hardly changes; with more they are the
wall's and mean something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

from checks.bench_models import comparison
from checks.bench_stages import CONTENDERS, STAGES, Seconds, chain, stages
from checks.bench_text import Row, rows
from checks.bench_train import training_table
from checks.bench_whole import cold_command, process_figures
from pipeline.config import load_config
from pipeline.deterministic import write_model
from pipeline.precisions import DEFAULT_PRECISION, PRECISIONS
from service.catalog import Source, locate

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"mini": "mini", "full": "indextts2", "mini25": "mini25", "full25": "indextts2.5"}
BEAMS = (1, 3)
STEPS = (12, 25)
TEXT_GROWTH = "text/growth"  # in a gate: at most so many times as long for five times the text


@contextlib.contextmanager
def source_of(size: str | None, model: str | None) -> Iterator[Source]:
    """The model to measure: one by name or directory, or deterministic weights of a size, written by
    another process so that this one's memory is the model's."""
    if model:
        with locate(model) as source:
            yield source
        return
    with tempfile.TemporaryDirectory(prefix="indextts-bench-") as folder:
        subprocess.run(
            [sys.executable, "-m", "checks.bench", "--write", folder, "--size", size], check=True, cwd=ROOT
        )
        yield Source(load_config(SIZES[size]), Path(folder))


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "date": date.today().isoformat(),
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "clock": "wall" if torch.get_num_threads() > 1 else "CPU",
        "torch": torch.__version__,
    }


def show(title: str, unit: str, row: Mapping[str, float], digits: int = 3) -> str:
    cells = " | ".join(f"{row[name]:.{digits}g}" if name in row else "" for name in CONTENDERS)
    return f"| {title} | {unit} | {cells} |"


def stage_table(found: Mapping[str, Seconds]) -> list[str]:
    """Markdown: figures, and behind each the times `plain` takes longer."""
    lines = [f"| | | {' | '.join(CONTENDERS)} |", "|---|---|" + "---|" * len(CONTENDERS)]
    for name, seconds in found.items():
        if name.startswith("gpt"):
            lines.append(show(name, "codes/s", {key: 1 / value for key, value in seconds.items()}))
            prompt = {key: seconds[f"prompt {key}"] for key in CONTENDERS}
            lines.append(show(f"{name}: prompt", "s", prompt))
        else:
            lines.append(show(name, "s/step" if name == "flow" else "s/s of audio", seconds))
        lines.append(show(f"{name}", "times as fast", ratios(seconds)))
    return lines


def ratios(seconds: Seconds) -> dict[str, float]:
    """How many times as fast as `plain` each precision is."""
    return {name: seconds["plain"] / seconds[name] for name in PRECISIONS}


def text_table(measured: Sequence[Row]) -> list[str]:
    lines = ["| reading text | s for 20,000 characters | times as long for 100,000 |", "|---|---|---|"]
    for row in measured:
        lines.append(
            f"| {row.text} | {row.seconds:.2f} | {'' if row.growth is None else f'{row.growth:.1f}'} |"
        )
    return lines


def failures(gate: Mapping[str, float], found: Mapping[str, Seconds], text: Sequence[Row] = ()) -> list[str]:
    """One line per ratio, "STAGE/PRECISION", that is below the stored one, and per text that takes more than
    "text/growth" times as long for five times the length. Raises ValueError for a name that is unknown."""
    lines = []
    for name, least in gate.items():
        if name == TEXT_GROWTH:
            lines += [
                f"{name}: {row.growth:.1f} for '{row.text}'; the gate allows {least:g}"
                for row in text
                if row.growth is not None and row.growth > least
            ]
            continue
        stage, _, precision = name.partition("/")
        if stage not in found or precision not in PRECISIONS:
            raise ValueError(
                f"the gate's '{name}' is unknown; known: {', '.join(found)}, each with /PRECISION, {TEXT_GROWTH}"
            )
        ratio = ratios(found[stage])[precision]
        if ratio < least:
            lines.append(f"{name}: {ratio:.2f} times as fast as plain; the gate asks for {least:g}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=sorted(SIZES), default="mini", help="deterministic weights of this size"
    )
    parser.add_argument(
        "--against",
        choices=sorted(SIZES),
        help="only compare the GPT's time for a second of audio with that of this size",
    )
    parser.add_argument("--model", help="measure this model (a name in configs/ or a directory) instead")
    parser.add_argument("--codes", type=int, default=100, help="codes forced per decode")
    parser.add_argument("--frames", type=int, default=172, help="mel frames made, behind 5 s of reference")
    parser.add_argument("--runs", type=int, default=3, help="the quickest of this many counts")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=STEPS, help="Euler steps of the chain's figures"
    )
    parser.add_argument(
        "--stages", choices=STAGES, nargs="+", default=STAGES, help="these alone; all of them make the chain"
    )
    parser.add_argument("--text", action="store_true", help="how long reading text takes as well")
    parser.add_argument("--whole", action="store_true", help="memory, first audio and a cold command as well")
    parser.add_argument(
        "--train", action="store_true", help="nothing but a step of fine-tuning, and its memory"
    )
    parser.add_argument("--only-whole", action="store_true", help="nothing but those")
    parser.add_argument(
        "--gate", type=Path, help="fail when a ratio is below the one stored in this JSON file"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        config = load_config(SIZES[options.size])
        vocabulary = ROOT / "models" / ("mini25" if config.layout == "2.5" else "mini") / config.vocabulary
        write_model(options.write, config, vocabulary)
        return 0
    if min(options.codes, options.frames, options.runs, *options.steps) < 1:
        parser.error("--codes, --frames, --runs and --steps take numbers of 1 or more")
    gate = json.loads(options.gate.read_text()) if options.gate else {}
    about = machine()
    print("  ".join(f"{key}={value}" for key, value in about.items()), flush=True)
    if options.against:
        both = [load_config(SIZES[size]) for size in (options.size, options.against)]
        for line in comparison(both, DEFAULT_PRECISION, BEAMS, options.codes, options.runs):
            print(line, flush=True)
        return 0
    found: dict[str, Seconds] = {}
    whole: dict[str, dict[str, float]] = {}
    with source_of(options.size, options.model) as source:
        if options.train:
            print("\n".join(training_table(source, options.runs)), flush=True)
            return 0
        if not options.only_whole:
            codes = min(options.codes, source.config.gpt.max_mel_tokens)
            forced = (codes, options.frames, options.runs)
            found = stages(source.directory, source.config, BEAMS, *forced, options.stages)
            whole_chain = set(options.stages) == set(STAGES)
            for beams in [name for name in found if name.startswith("gpt") and whole_chain]:
                for steps in options.steps:
                    name = f"all, {beams.removeprefix('gpt, ')}, {steps} steps"
                    found[name] = chain(found, source.config, beams, steps, options.frames)
            print("\n".join(stage_table(found)), flush=True)
        if options.whole or options.only_whole:
            name = options.model or str(source.directory)
            for precision in PRECISIONS:
                whole[precision] = process_figures(name, precision)
                if options.model == "tiny-en":
                    whole[precision]["cold command s"] = cold_command(precision)
                print(
                    precision,
                    json.dumps({key: round(value, 2) for key, value in whole[precision].items()}),
                    flush=True,
                )
    text = rows() if options.text or TEXT_GROWTH in gate else []
    if text:
        print("\n".join(text_table(text)), flush=True)
    if options.json:
        options.json.write_text(
            json.dumps(
                {"about": about, "stages": found, "whole": whole, "text": list(map(asdict, text))}, indent=1
            )
            + "\n"
        )
    problems = failures(gate, found, text)
    for line in problems:
        print(f"SLOW {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
