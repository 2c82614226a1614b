"""What the engine brings on this machine: `python -m checks.engine [--model NAME] [--full]`.

A text of eight segments, spoken one by one and together in turn; codes a second of eight sequences against one, with
`--full` at the published model's size and made-up weights. Wall time: means something on a quiet machine only.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
import time
from pathlib import Path

import torch

from checks.bench import source_of
from checks.bench_stages import NEVER, load, prompt_of
from checks.heads import ShiftedHead
from pipeline.gpt.batch import BatchDecoder, alike
from pipeline.gpt.decode import decode
from pipeline.gpt.sampling import SamplingOptions
from service.request import Request
from service.service import Service
from service.settings import Settings

SPEAKER = Path(__file__).resolve().parent.parent / "examples/speaker.wav"
SENTENCES = (
    "The quick brown fox jumps over the lazy dog near the bank of the river.",
    "She sells sea shells by the shore, and he buys them every single morning.",
    "A long road leads over the hills to the old town where my mother was born.",
    "Nobody knows what the weather will be like on the first day of the new year.",
    "Please remember to close the window before you leave the house tonight.",
    "The children played in the garden until the sun went down behind the trees.",
    "He wrote a letter to his brother and told him about the journey to the sea.",
    "We will meet again at the station when the last train from the city arrives.",
)
OPTIONS = SamplingOptions(
    do_sample=True,
    temperature=0.8,
    top_k=30,
    top_p=0.8,
    num_beams=1,
    repetition_penalty=10.0,
    length_penalty=0.0,
    max_codes=40,
    mel_positions="trained",
)


@torch.inference_mode()
def codes_per_second(gpt, count: int) -> tuple[float, float]:
    """(one by one, together) of `count` sequences, prompts included, and whether their codes are the same."""
    prompt = prompt_of(gpt)
    start = time.perf_counter()
    alone = [decode(gpt, prompt, OPTIONS, torch.Generator().manual_seed(seed)).codes for seed in range(count)]
    middle = time.perf_counter()
    batch = BatchDecoder(gpt)
    sequences = [batch.join(prompt, OPTIONS, torch.Generator().manual_seed(seed)) for seed in range(count)]
    while len(batch):
        batch.step()
    end = time.perf_counter()
    for sequence, codes in zip(sequences, alone, strict=True):
        if not torch.equal(sequence.decoded.codes, codes):
            raise ArithmeticError("codes in company differ from those alone")
    total = sum(len(codes) for codes in alone)
    return total / (middle - start), total / (end - middle)


def decoding(size: str | None, model: str | None, precision: str, count: int, runs: int) -> None:
    with source_of(size, model) as source:
        gpt = load(source.directory, source.config, "gpt", contenders=(precision,))[precision]
        gpt.mel_head = ShiftedHead(gpt.mel_head, source.config.gpt.stop_mel_token, NEVER)
        found = [codes_per_second(gpt, count) for _ in range(runs)]
    alone, together = (max(column) for column in zip(*found, strict=True))
    print(
        f"{source.config.name}, {precision}: {count} sequences one by one {alone:.1f} codes/s, together "
        f"{together:.1f}: {together / alone:.2f} times; rows alike: {alike(gpt)}",
        flush=True,
    )


def text(precision: str, runs: int) -> None:
    service = Service(Settings.read(precision=precision))
    service.warm_up()
    request = Request("\n\n".join(SENTENCES), SPEAKER, seed=3)
    seconds: dict[int, list[float]] = {1: [], 8: []}
    digests: dict[int, set[str]] = {1: set(), 8: set()}
    for _ in range(runs):
        for batch in seconds:
            service.engine.limits = dataclasses.replace(service.engine.limits, segment_batch=batch)
            prepared = service.prepare(request)
            start = time.perf_counter()
            parts = list(service.parts(prepared))
            seconds[batch].append(time.perf_counter() - start)
            wave = torch.cat([part.chunk.wave for part in parts])
            digests[batch].add(hashlib.sha256(wave.numpy().tobytes()).hexdigest()[:12])
            told = {stage: round(value, 2) for stage, value in prepared.watch.stopwatch.seconds.items()}
            print(f"  {precision}, {batch} together: {seconds[batch][-1]:.2f} s {told}", flush=True)
    one, many = min(seconds[1]), min(seconds[8])
    print(
        f"{service.model.config.name}, {precision}: {len(wave) / service.synthesizer.sample_rate:.1f} s of audio, one by "
        f"one {one:.2f} s, together {many:.2f} s: {many / one:.2f}; bytes {digests}",
        flush=True,
    )
    service.engine.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="checks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="codes a second at full size, nothing else")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    if options.full:
        decoding("full", None, options.precision, 8, options.runs)
    else:
        text(options.precision, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
