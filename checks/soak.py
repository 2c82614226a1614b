"""Many requests to one server, some of them hostile: does it stay as small as it was? `script/soak [--requests N]`

Prints memory, descriptors and files every few requests, and a verdict. `--overhead` instead prints how much of
a 10 s synthesis passes outside the model.
"""
from __future__ import annotations

import argparse
import collections
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

from checks.hostile import body_of, clip_of, table, valid_inputs
from checks.server import CogServer, data_uri, wave_of
from checks.trickster import Trickster

INTERVAL = 50  # requests between looks; the first interval is warming up
MAX_GROWTH_MB = 20
HOSTILE_SHARE = 0.2
CLIP_STEP_SECONDS = 0.01  # between one valid request's reference and the next one's
CLIPS = 300
TEXTS = ("Hello there.", "The quick brown fox jumps over the lazy dog.", "你好，世界。今天是2024年。", "One. [pause:0.5s] Two.\n\nThree.")
EXTRAS = ({}, {"output_format": "mp3", "sample_rate": 44100}, {"output_format": "opus", "sample_rate": 48000, "loudness": -16},
          {"receipt": True, "subtitles": "srt", "return_voice": True}, {"speed": 1.5, "emotion_vector": "happy=0.5"})
COGLET_FOLDERS = Path("/tmp/coglet/predictions")  # one a request, named by its id; coglet 0.23.1 removes none
MODEL_STAGES = ("voice", "emotion", "gpt", "s2mel", "vocoder")
# What mini speaks for about 10 s, in two segments made once each.
OVERHEAD_REQUEST = {"text": "The quick brown fox jumps over the lazy dog, and then it runs away into the forest.\n\n"
                            "There it meets a bear, who tells it a long story about honey.",
                    "num_beams": 1, "temperature": 1.5, "seed": 8}
OVERHEAD_LIMIT = 0.05


@contextmanager
def running() -> Iterator[CogServer]:
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        temporary = Path(folder) / "server"
        temporary.mkdir()
        server = CogServer(temporary)
        try:
            yield server.wait_until_ready()
        finally:
            server.stop()


@dataclass(frozen=True)
class Look:
    """What the worker holds after a number of requests."""
    requests: int
    memory_mb: float
    server_memory_mb: float
    descriptors: int
    threads: int
    our_files: int
    other_files: int

    @staticmethod
    def at(server: CogServer, requests: int) -> "Look":
        worker, left = server.worker(), server.left_behind()
        ours = sum(path.startswith("indextts-") for path in left)
        return Look(requests, resident_mb(worker), resident_mb(server.process.pid), len(os.listdir(f"/proc/{worker}/fd")),
                    len(os.listdir(f"/proc/{worker}/task")), ours, len(left) - ours)

    def row(self) -> str:
        return (f"{self.requests:>8} {self.memory_mb:>12.1f} {self.server_memory_mb:>12.1f} {self.descriptors:>12} "
                f"{self.threads:>8} {self.our_files:>10} {self.other_files:>12}")


HEADER = (f"{'requests':>8} {'worker MB':>12} {'server MB':>12} {'descriptors':>12} {'threads':>8} {'our files':>10} "
          f"{'Cog files':>12}")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def valid_bodies(prefix: str) -> Iterator[bytes]:
    """Requests that succeed, each with another reference, and texts, formats and seeds that vary."""
    for index in range(sys.maxsize):
        clip = clip_of(start_seconds=index % CLIPS * CLIP_STEP_SECONDS)
        yield body_of(valid_inputs(clip) | {"text": TEXTS[index % len(TEXTS)], "seed": index} | EXTRAS[index % len(EXTRAS)],
                      id=f"{prefix}{index}")


def soak(count: int, share: float) -> bool:
    """Whether `count` requests, `share` of them hostile, left the server as it was after the first INTERVAL."""
    draw = random.Random(0)
    prefix = f"soak-{os.getpid()}-"
    counts: collections.Counter = collections.Counter()
    looks: list[Look] = []
    wrong: list[str] = []
    clip = clip_of()
    valid = valid_inputs(clip)
    with running() as server, Trickster(clip) as trickster:
        schemas = requests.get(f"{server.url}/openapi.json", timeout=10).json()["components"]["schemas"]
        hostile, good = table(schemas, valid, trickster.url), valid_bodies(prefix)
        first, worker = wave_of(server.predict(**valid)), server.worker()
        start = time.monotonic()
        print(HEADER, flush=True)
        for index in range(1, count + 1):
            if draw.random() < share:
                request = draw.choice(hostile)
                status = server.send(request.body, request.content_type)["status"]
                if status not in request.outcomes:
                    wrong.append(f"{request.group}, {request.name}: {status}")
                counts[f"hostile {status}"] += 1
            else:
                answer = server.send(next(good))
                if answer["status"] != "succeeded":
                    wrong.append(f"valid: {answer['status']}: {answer.get('error')}")
                counts[f"valid {answer['status']}"] += 1
            if index % INTERVAL == 0 or index == count:
                looks.append(Look.at(server, index))
                print(looks[-1].row(), flush=True)
        seconds = time.monotonic() - start
        same = wave_of(server.predict(**valid)) == first and server.worker() == worker
    print(f"{count} requests in {seconds:.0f} s: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    print(f"folders of finished requests in {COGLET_FOLDERS}: {len(list(COGLET_FOLDERS.glob(prefix + '*')))} of "
          f"{counts['valid succeeded']} valid requests")
    print(*(f"wrong: {line}" for line in wrong), sep="\n", end="\n" if wrong else "")
    growth = looks[-1].memory_mb - looks[0].memory_mb
    steady = looks[-1].descriptors <= looks[0].descriptors and looks[-1].threads <= looks[0].threads
    passed = growth < MAX_GROWTH_MB and steady and looks[-1].our_files <= 1 and same and not wrong
    print(f"growth after the first {looks[0].requests}: {growth:+.1f} MB (allowed: below {MAX_GROWTH_MB}), descriptors "
          f"{looks[-1].descriptors - looks[0].descriptors:+d}, threads {looks[-1].threads - looks[0].threads:+d}; same worker and "
          f"same bytes after: {'yes' if same else 'NO'}: {'passed' if passed else 'FAILED'}")
    return passed


def overhead(runs: int) -> bool:
    """Whether the share of a synthesis outside the model's stages is small enough, as the median of `runs`
    requests whose reference is known already."""
    body = body_of({"speaker": data_uri(clip_of())} | OVERHEAD_REQUEST)
    with running() as server:
        server.send(body)
        rows = []
        for _ in range(runs):
            start = time.monotonic()
            answer = server.send(body)
            wall = time.monotonic() - start
            metrics = answer["metrics"]
            model = sum(metrics["timing"][stage] for stage in MODEL_STAGES)
            rows.append((metrics["audio_seconds"], wall, metrics["predict_time"], model,
                         (metrics["predict_time"] - model) / metrics["predict_time"], (wall - model) / wall))
            print("  ".join(f"{stage} {seconds:.4f}" for stage, seconds in metrics["timing"].items()), flush=True)
    audio, wall, predict, model, inside, outside = (statistics.median(column) for column in zip(*rows))
    passed = inside < OVERHEAD_LIMIT
    print(f"{audio:.2f} s of audio: model {model:.3f} s, predict_time {predict:.3f} s, seen by the client {wall:.3f} s\n"
          f"outside the model: {1000 * (predict - model):.0f} ms, {100 * inside:.1f} % of predict_time (allowed: below "
          f"{100 * OVERHEAD_LIMIT:.0f} %), {100 * outside:.1f} % of what the client sees: {'passed' if passed else 'FAILED'}")
    return passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--hostile", type=float, default=HOSTILE_SHARE, metavar="SHARE", help="share of hostile requests")
    parser.add_argument("--overhead", type=int, metavar="RUNS", help="measure time outside the model over this many requests")
    options = parser.parse_args(arguments)
    passed = overhead(options.overhead) if options.overhead else soak(options.requests, options.hostile)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
