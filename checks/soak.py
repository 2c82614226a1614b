"""Many requests to one server, some of them hostile: does it stay as small as it was?

script/soak [--requests N]

Prints memory, descriptors and files every few requests, and a verdict. `--overhead` instead prints how much
of a 10 s synthesis passes outside the model. `--sequential` instead sends good and bad requests one after the
other, each as soon as the one before is answered, with every core busy, and counts those that were told to
come back.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from checks.busy import busy_cores
from checks.hostile import SPOKEN, Hostile, body_of, clip_of, table, valid_inputs
from checks.server import ANSWER_SECONDS, CogServer, data_uri, wave_of
from checks.trickster import Trickster

INTERVAL = 50  # requests between looks; the first interval is warming up
MAX_GROWTH_MB = 20
HOSTILE_SHARE = 0.2
CLIP_STEP_SECONDS = 0.01  # between one valid request's reference and the next one's
# References in all: each is met in the first interval, so that the cache of voices (bounded) fills there.
CLIPS = 30
MAX_NEW_DESCRIPTORS = 2
MAX_FILES = 3  # those of the latest request: two inputs and a result
TEXTS = (
    "Hello there.",
    "The quick brown fox jumps over the lazy dog.",
    "你好，世界。今天是2024年。",
    "One. [pause:0.5s] Two.\n\nThree.",
)
EXTRAS = (
    {},
    {"output_format": "mp3", "sample_rate": 44100},
    {"output_format": "opus", "sample_rate": 48000, "loudness": -16},
    {"receipt": True, "subtitles": "srt", "return_voice": True},
    {"speed": 1.5, "emotion_vector": "happy=0.5"},
)
COGLET_FOLDERS = Path("/tmp/coglet/predictions")  # one a request, named by its id; coglet 0.23.1 removes none
MODEL_STAGES = ("voice", "emotion", "gpt", "s2mel", "vocoder")
# What mini speaks for about 10 s, in two segments made once each.
OVERHEAD_REQUEST = {
    "text": "The quick brown fox jumps over the lazy dog, and then it runs away into the forest.\n\n"
    "There it meets a bear, who tells it a long story about honey.",
    "num_beams": 1,
    "temperature": 1.5,
    "max_mel_tokens": 1500,
    "seed": 8,
}
OVERHEAD_LIMIT = 0.05


# What mini speaks in a few hundredths of a second, and what is refused once it is read.
SHORT_REQUEST = {"text": "Hi.", "num_beams": 1, "max_mel_tokens": 50, "diffusion_steps": 1}
REFUSED_REQUEST = SHORT_REQUEST | {"text": " "}


@contextmanager
def running(front: bool) -> Iterator[CogServer]:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        temporary = Path(folder) / "server"
        temporary.mkdir()
        with CogServer(temporary, front=front) as server:
            yield server


def sequential(server: CogServer, count: int) -> bool:
    """Whether none of `count` requests, good and bad in turn, is told that the server is busy."""
    speaker = {"speaker": data_uri(clip_of())}
    bodies = [body_of(speaker | request) for request in (SHORT_REQUEST, REFUSED_REQUEST)]
    server.send(bodies[0])
    server.wait_until_ready()
    outcomes: collections.Counter[str] = collections.Counter()
    with busy_cores(), requests.Session() as session:
        for index in range(count):
            answer = session.post(
                f"{server.url}/predictions",
                data=bodies[index % 2],
                headers={"Content-Type": "application/json"},
                timeout=ANSWER_SECONDS,
            )
            outcomes[answer.json()["status"] if answer.status_code == 200 else str(answer.status_code)] += 1
    passed = outcomes["succeeded"] == (count + 1) // 2 and outcomes["failed"] == count // 2
    print(
        f"{count} requests one after the other, all cores busy: "
        + ", ".join(f"{number} {kind}" for kind, number in sorted(outcomes.items()))
        + f": {'passed' if passed else 'FAILED'}"
    )
    return passed


@dataclass(frozen=True)
class Look:
    """What the worker holds after a number of requests."""

    requests: int
    memory_mb: float
    server_memory_mb: float
    descriptors: int
    threads: int
    files: int

    @staticmethod
    def at(server: CogServer, requests: int) -> Look:
        worker = server.worker()
        return Look(
            requests,
            resident_mb(worker),
            resident_mb(server.process.pid),
            len(os.listdir(f"/proc/{worker}/fd")),
            len(os.listdir(f"/proc/{worker}/task")),
            len(server.left_behind()),
        )

    def row(self) -> str:
        return (
            f"{self.requests:>8} {self.memory_mb:>12.1f} {self.server_memory_mb:>12.1f} "
            f"{self.descriptors:>12} {self.threads:>8} {self.files:>12}"
        )


HEADER = (
    f"{'requests':>8} {'worker MB':>12} {'server MB':>12} "
    f"{'descriptors':>12} {'threads':>8} {'files left':>12}"
)


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def traffic(hostile: list[Hostile], share: float, prefix: str) -> Iterator[Hostile]:
    """Hostile requests drawn at random, and others that succeed: with an id of `prefix`, and references,
    texts, formats and seeds that vary."""
    draw = random.Random(0)
    index = 0
    while True:
        if draw.random() < share:
            yield draw.choice(hostile)
            continue
        clip = clip_of(start_seconds=index % CLIPS * CLIP_STEP_SECONDS)
        inputs = (
            valid_inputs(clip)
            | {"text": TEXTS[index % len(TEXTS)], "seed": index}
            | EXTRAS[index % len(EXTRAS)]
        )
        yield Hostile("valid", str(index), body_of(inputs, id=f"{prefix}{index}"), SPOKEN)
        index += 1


def soak(server: CogServer, count: int, share: float) -> bool:
    """Whether `count` requests, `share` of them hostile, left the server as after the first INTERVAL."""
    prefix = f"soak-{os.getpid()}-"
    counts: collections.Counter = collections.Counter()
    looks: list[Look] = []
    wrong: list[str] = []
    clip = clip_of()
    valid = valid_inputs(clip)
    with Trickster(clip) as trickster:
        schemas = requests.get(f"{server.url}/openapi.json", timeout=10).json()["components"]["schemas"]
        hostile = table(schemas, valid, trickster.url)
        first, worker, start = wave_of(server.predict(**valid)), server.worker(), time.monotonic()
        print(HEADER, flush=True)
        for index, request in enumerate(itertools.islice(traffic(hostile, share, prefix), count), 1):
            status = server.send(request.body, request.content_type)["status"]
            counts["valid" if request.group == "valid" else "hostile", status] += 1
            if status not in request.outcomes:
                wrong.append(f"{request.group}, {request.name}: {status}")
            if index % INTERVAL == 0 or index == count:
                looks.append(Look.at(server, index))
                print(looks[-1].row(), flush=True)
        seconds = time.monotonic() - start
        if wave_of(server.predict(**valid)) != first or server.worker() != worker:
            wrong.append("the first request does not give the same bytes of the same worker again")
    print(
        f"{count} requests in {seconds:.0f} s: "
        + ", ".join(f"{number} {' '.join(kind)}" for kind, number in sorted(counts.items()))
    )
    print(
        f"folders of finished requests in {COGLET_FOLDERS}: "
        f"{len(list(COGLET_FOLDERS.glob(prefix + '*')))} of {counts['valid', 'succeeded']} valid requests"
    )
    return verdict(looks, wrong)


def verdict(looks: list[Look], wrong: list[str]) -> bool:
    first, last = looks[0], looks[-1]
    growth = last.memory_mb - first.memory_mb
    descriptors, threads = last.descriptors - first.descriptors, last.threads - first.threads
    passed = (
        growth < MAX_GROWTH_MB
        and descriptors <= MAX_NEW_DESCRIPTORS
        and threads <= 0
        and last.files <= MAX_FILES
        and not wrong
    )
    for line in wrong:
        print(f"wrong: {line}")
    print(
        f"growth after the first {first.requests}: {growth:+.1f} MB (allowed: below {MAX_GROWTH_MB}), "
        f"descriptors {descriptors:+d}, threads {threads:+d}: {'passed' if passed else 'FAILED'}"
    )
    return passed


def overhead(server: CogServer, runs: int) -> bool:
    """Whether the share of a synthesis outside the model's stages is small enough, as the median of `runs`
    requests whose reference is known already."""
    body = body_of({"speaker": data_uri(clip_of())} | OVERHEAD_REQUEST)
    server.send(body)
    rows = []
    for _ in range(runs):
        start = time.monotonic()
        metrics = server.send(body)["metrics"]
        wall = time.monotonic() - start
        model = sum(metrics["timing"][stage] for stage in MODEL_STAGES)
        rows.append(
            (
                metrics["audio_seconds"],
                wall,
                metrics["predict_time"],
                model,
                (metrics["predict_time"] - model) / metrics["predict_time"],
                (wall - model) / wall,
            )
        )
        print("  ".join(f"{stage} {seconds:.4f}" for stage, seconds in metrics["timing"].items()), flush=True)
    audio, wall, predict, model, inside, outside = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    passed = inside < OVERHEAD_LIMIT
    print(
        f"{audio:.2f} s of audio: model {model:.3f} s, predict_time {predict:.3f} s, "
        f"seen by the client {wall:.3f} s\n"
        f"outside the model: {1000 * (predict - model):.0f} ms, {100 * inside:.1f} % of predict_time "
        f"(allowed: below {100 * OVERHEAD_LIMIT:.0f} %), {100 * outside:.1f} % of what the client sees: "
        f"{'passed' if passed else 'FAILED'}"
    )
    return passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument(
        "--hostile", type=float, default=HOSTILE_SHARE, metavar="SHARE", help="share of hostile requests"
    )
    parser.add_argument(
        "--overhead", type=int, metavar="RUNS", help="measure time outside the model over this many requests"
    )
    parser.add_argument(
        "--sequential",
        type=int,
        metavar="REQUESTS",
        help="send this many one after the other, all cores busy",
    )
    parser.add_argument("--front", action="store_true", help="as `script/serve` is without --bare")
    options = parser.parse_args(arguments)
    with running(options.front) as server:
        if options.overhead:
            passed = overhead(server, options.overhead)
        elif options.sequential:
            passed = sequential(server, options.sequential)
        else:
            passed = soak(server, options.requests, options.hostile)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
