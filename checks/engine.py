"""What the engine brings on this machine: `python -m checks.engine [--full [--model DIRECTORY]] [--first]`.

A text of eight segments, spoken one by one and together in turn; codes a second of eight sequences against one, with
`--full` at the published model's size and made-up weights, as many codes as a sentence has. Wall time: means something
on a quiet machine only.
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
from pipeline.text.prepare import TextSegment
from service.finish.segment import finish_segment
from service.request import Request
from service.service import Service
from service.settings import Settings
from service.speak import Spoken, segment_seed

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
CODES = 200  # of a sentence of four seconds


@torch.inference_mode()
def codes_per_second(gpt, count: int, codes: int) -> tuple[float, float]:
    """(one by one, together) of `count` sequences of so many codes, prompts included. Raises ArithmeticError where
    their codes are not the same."""
    prompt, options = prompt_of(gpt), dataclasses.replace(OPTIONS, max_codes=codes)
    start = time.perf_counter()
    alone = [decode(gpt, prompt, options, torch.Generator().manual_seed(seed)).codes for seed in range(count)]
    middle = time.perf_counter()
    batch = BatchDecoder(gpt)
    sequences = [batch.join(prompt, options, torch.Generator().manual_seed(seed)) for seed in range(count)]
    while len(batch):
        batch.step()
    end = time.perf_counter()
    for sequence, codes in zip(sequences, alone, strict=True):
        if not torch.equal(sequence.decoded.codes, codes):
            raise ArithmeticError("codes in company differ from those alone")
    total = sum(len(codes) for codes in alone)
    return total / (middle - start), total / (end - middle)


def decoding(model: str | None, precision: str, count: int, codes: int, runs: int) -> None:
    with source_of("full", model) as source:
        gpt = load(source.directory, source.config, "gpt", contenders=(precision,))[precision]
        gpt.mel_head = ShiftedHead(gpt.mel_head, source.config.gpt.stop_mel_token, NEVER)
        found = [codes_per_second(gpt, count, codes) for _ in range(runs)]
    alone, together = (max(column) for column in zip(*found, strict=True))
    print(
        f"{source.config.name}, {precision}: {count} sequences of {codes} codes one by one {alone:.1f} codes/s, "
        f"together {together:.1f}: {together / alone:.2f} times; rows alike: {alike(gpt)}",
        flush=True,
    )


def text(precision: str, runs: int) -> None:
    """Eight segments by the stages themselves, one after the other on all threads, and by the engine."""
    service = Service(Settings.read(precision=precision))
    service.warm_up()
    request = Request("\n\n".join(SENTENCES), SPEAKER, seed=3)
    seconds: dict[str, list[float]] = {"one by one": [], "together": []}
    digests: dict[str, set[str]] = {"one by one": set(), "together": set()}
    for _ in range(runs):
        for name in seconds:
            prepared = service.prepare(request)
            segments = [part for part in prepared.script if isinstance(part, TextSegment)]
            start = time.perf_counter()
            if name == "together":
                parts = [part for part in service.parts(prepared) if isinstance(part.spoken, Spoken)]
                waves = [part.spoken.wave for part in parts]
            else:
                made = [
                    service.synthesizer.segment(
                        segment, prepared.delivery, segment_seed(3, index), prepared.watch
                    )
                    for index, segment in enumerate(segments)
                ]
                waves = [finish_segment(audio.wave, service.synthesizer.sample_rate).wave for audio in made]
            seconds[name].append(time.perf_counter() - start)
            digests[name].add(hashlib.sha256(torch.cat(waves).numpy().tobytes()).hexdigest()[:12])
            told = {stage: round(value, 2) for stage, value in prepared.watch.stopwatch.seconds.items()}
            print(f"  {precision}, {name}: {seconds[name][-1]:.2f} s {told}", flush=True)
    one, many = (min(values) for values in seconds.values())
    audio = sum(map(len, waves)) / service.synthesizer.sample_rate
    print(
        f"{service.model.config.name}, {precision}: {audio:.1f} s of audio, one by one {one:.2f} s, "
        f"together {many:.2f} s: {many / one:.2f}; bytes {digests}",
        flush=True,
    )
    service.engine.close()


def first_audio(precision: str, runs: int) -> None:
    """Seconds to the first sound of a sentence of 20 words, the voice known."""
    service = Service(Settings.read(precision=precision))
    service.warm_up()
    words = " ".join(" ".join(SENTENCES[:2]).split()[:20])
    for stream in ("segments", "chunks"):
        found = []
        for seed in range(runs + 1):
            start = time.perf_counter()
            parts = iter(service.engine.submit(Request(words, SPEAKER, seed=seed), stream))
            next(part for part in parts if len(part.chunk.wave))
            found.append(time.perf_counter() - start)
            list(parts)
        print(f"{precision}, stream={stream}: first sound after {min(found[1:]):.2f} s", flush=True)
    service.engine.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="checks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="codes a second at full size, nothing else")
    parser.add_argument("--model", help="with --full: this directory in place of made-up weights")
    parser.add_argument("--codes", type=int, default=CODES, help="with --full: of each sequence")
    parser.add_argument("--first", action="store_true", help="seconds to the first sound, nothing else")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    if options.first:
        first_audio(options.precision, options.runs)
    elif options.full:
        decoding(options.model, options.precision, 8, options.codes, options.runs)
    else:
        text(options.precision, options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
