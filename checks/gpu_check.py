"""Everything a GPU must show, in one command: `script/gpu-check [--json FILE]`.

Needs PyTorch, numpy, PyYAML and safetensors, Triton where there is one, and no network; weights are random, made on the
device. Each line is PASS, FAIL or UNVERIFIED; without a GPU what only one can show is UNVERIFIED. Exit status 1: a line
failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from checks import gpu_bench, gpu_proofs, gpu_step
from checks.gpu_model import Speaker
from checks.gpu_proofs import FAIL, PASS, UNVERIFIED, Line
from pipeline import gpu
from pipeline.config import load_config
from pipeline.memory_plan import GIB, plan
from pipeline.precisions import DEFAULT_PRECISION, PRECISIONS
from pipeline.published import VOCODER, apply_main_config
from pipeline.strict import build, read_yaml, to_dict
from pipeline.vocoder.fused import triton_kernel

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden"
SIZES = {"mini": "mini", "full": "indextts2"}
SEQUENCES = (1, 4, 16, 64)
# what the figures must reach at full size in `fast`: name -> (limit, whether less is better)
TARGETS = {
    "real-time factor, 3 beams, 25 steps": (0.1, True),
    "first audio, 1 beam, 12 steps, ms": (250.0, True),
    "audio-s/s, 16 sequences": (30.0, False),
}
PLAN_SLACK = 1.1


def mini_config():
    """The configuration that the golden values of size mini were made with."""
    config = load_config("mini")
    values = apply_main_config(to_dict(config), read_yaml(GOLDEN / "mini_config.yaml"), "config")
    vocoder = read_yaml(GOLDEN / "mini_bigvgan_config.json")
    values["vocoder"].update({ours: vocoder[theirs] for ours, theirs in VOCODER.items()})
    return build(type(config), values, "mini")


def about(device: torch.device) -> dict[str, object]:
    """What the lines were made on."""
    told: dict[str, object] = {"torch": torch.__version__, "device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        told |= {"gpu": properties.name, "memory GiB": round(properties.total_memory / GIB, 1)}
        told |= {"cuda": torch.version.cuda, "capability": f"{properties.major}.{properties.minor}"}
    return told | {"triton": triton_kernel() is not None}


class Report:
    """Lines as they come, and a budget of seconds after which nothing new is begun."""

    def __init__(self, budget: float):
        self.lines: list[Line] = []
        self.end = time.monotonic() + budget

    def run(self, name: str, work: Callable[[], Line | Iterable[Line]]) -> None:
        """Add the lines of `work`; an error is a FAIL, and nothing else stops."""
        if time.monotonic() > self.end:
            self.add(Line(name, UNVERIFIED, "no time left (--budget)"))
            return
        try:
            made = work()
            for line in [made] if isinstance(made, Line) else made:
                self.add(line)
        except Exception as e:  # whatever a machine has in store must not hide the lines after it
            self.add(Line(name, FAIL, f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"))

    def add(self, line: Line) -> None:
        self.lines.append(line)
        limit = f"  (limit: {line.limit})" if line.limit else ""
        print(f"{line.status:<10} {line.name:<60} {line.value}{limit}", flush=True)


def proofs(report: Report, speaker: Speaker, codes: int) -> None:
    for name, work in {
        "graph against eager": gpu_proofs.graphs,
        "no wait": gpu_proofs.no_wait,
        "determinism": gpu_proofs.determinism,
        "cancel": gpu_proofs.cancel,
        "overflow": gpu_proofs.overflow,
        "memory": gpu_proofs.flat_memory,
        "out of memory": gpu_proofs.out_of_memory,
    }.items():
        report.run(name, lambda work=work: work(speaker, codes))


def figures(
    report: Report, speaker: Speaker, codes: int, runs: int, counts: tuple[int, ...], counted: bool
) -> None:
    """The benchmark, the quickest of `runs`; `counted`: this is the size and the kind of device that they are
    meant for."""

    def lines(found: dict[str, float]) -> Iterator[Line]:
        for name, value in found.items():
            good, word = True, ""
            if name in TARGETS:
                limit, less = TARGETS[name]
                good = value <= limit if less else value >= limit
                word = f"{'at most' if less else 'at least'} {limit:g}"
            status = (PASS if good else FAIL) if counted else UNVERIFIED
            yield Line(f"figure: {name}", status, f"{value:.3g}", word)

    report.run("GPT step's kernels", lambda: gpu_step.kinds(speaker))
    report.run("figure: of which search", lambda: gpu_step.search(speaker, codes))
    report.run("figures of one request", lambda: lines(gpu_bench.single(speaker, codes, runs)))
    for count in counts:
        name = f"figures of {count} sequences"
        report.run(name, lambda count=count: lines(gpu_bench.many(speaker, codes, count)))
        gc.collect()


def memory(speaker: Speaker, precision: str, codes: int) -> Line:
    """The peak of one request against the plan's."""
    name = f"memory plan, {precision}"
    if speaker.device.type != "cuda":
        return Line(name, UNVERIFIED, "no GPU")
    torch.cuda.reset_peak_memory_stats(speaker.device)
    speaker.speak(3, 4, codes)
    planned = plan(speaker.config, precision, 3, codes)
    most = planned.fixed + planned.sequence
    peak = torch.cuda.max_memory_allocated(speaker.device)
    good = peak <= PLAN_SLACK * most
    return gpu_proofs.judged(name, good, f"{peak / GIB:.2f} GiB", f"{PLAN_SLACK * most / GIB:.2f} GiB")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/gpu-check", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", choices=sorted(SIZES), help="default: full on a GPU, mini without one")
    parser.add_argument("--precision", choices=PRECISIONS, default=DEFAULT_PRECISION, help="of the figures")
    parser.add_argument("--codes", type=int, default=250, help="codes of a segment: 50 are a second")
    parser.add_argument("--proof-codes", type=int, default=40, help="codes of a segment in the proofs")
    parser.add_argument("--runs", type=int, default=3, help="the quickest of so many counts")
    parser.add_argument("--sequences", type=int, nargs="*", default=SEQUENCES)
    parser.add_argument("--budget", type=float, default=440, help="seconds after which nothing new begins")
    parser.add_argument("--json", type=Path, help="also write the lines here")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    size = options.size or ("full" if device.type == "cuda" else "mini")
    told = about(device) | {"size": size, "precision": options.precision}
    print("  ".join(f"{key}={value}" for key, value in told.items()), flush=True)
    report = Report(options.budget)
    if device.type != "cuda":
        report.add(Line("a GPU", UNVERIFIED, "none is here: the lines below are of this CPU"))
    for precision in PRECISIONS:
        report.run(
            f"parity {precision}",
            lambda precision=precision: gpu_proofs.parity(
                mini_config(), device, precision, GOLDEN / "mini_public.npz"
            ),
        )
    report.run("activation with gradients, for training", lambda: gpu_step.training(device))
    config = load_config(SIZES[size])
    codes = min(options.codes, config.gpt.max_mel_tokens)
    if device.type == "cuda":
        gpu.allow_tf32(options.precision != "exact")
    made: list[Speaker] = []

    def make() -> Line:
        start = time.monotonic()
        made.append(Speaker.make(config, device, options.precision))
        return Line("random weights are made", PASS, f"{time.monotonic() - start:.1f} s")

    report.run("random weights are made", make)
    if made:
        proofs(report, made[0], options.proof_codes)
        report.run("memory plan", lambda: memory(made[0], options.precision, codes))
        counted = size == "full" and device.type == "cuda"
        figures(report, made[0], codes, options.runs, tuple(options.sequences), counted)
        report.run("kernels of a GPT step", lambda: gpu_step.kernels(made[0], codes))
    counts = {
        status: sum(line.status == status for line in report.lines) for status in (PASS, FAIL, UNVERIFIED)
    }
    print("  ".join(f"{status} {count}" for status, count in counts.items()))
    if options.json:
        content = {"about": told, "counts": counts, "lines": [asdict(line) for line in report.lines]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if counts[FAIL] else 0


if __name__ == "__main__":
    sys.exit(main())
