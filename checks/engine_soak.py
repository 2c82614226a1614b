"""Many requests through one engine, several at a time, some cancelled: `python -m checks.engine_soak [--requests N]`.

Passes when none is lost, memory does not grow, every answer has the bytes it has alone, nothing is left of those that
were cancelled, and short requests are answered beside long ones. The model is the mini one, whose head is moved so that
segments end by themselves, each after a number of codes of its own: the engine is looked at, not the voice.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from checks.heads import ShiftedHead
from service.engine.job import Cancelled
from service.request import Request
from service.service import Service
from service.settings import Settings

SPEAKER = Path(__file__).resolve().parent.parent / "examples/speaker.wav"
AT_A_TIME = 8
CANCELLED = 0.2
WARM = 0.1  # of the requests, before memory is looked at
GROWTH_BYTES = 64 * 2**20
TEXTS = ("Hello.", "One two three.\n\nFour five six.", "\n\n".join(["A story goes on and on."] * 6))
QUICK = dict(max_mel_tokens=50, diffusion_steps=1, num_beams=1)
CANCEL_SECONDS = 1.0
STOP_SHIFT = 2.0  # of the stop token's logit: segments of 0 to 50 codes
STRETCHES = 10  # of the run, the memory of each of which is told


def memory() -> int:
    """Resident bytes of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def digest(parts) -> str:
    return hashlib.sha256(torch.cat([part.chunk.wave for part in parts]).numpy().tobytes()).hexdigest()


class Soak:
    def __init__(self, service: Service, seed: int):
        self.service, self.random, self.lock = service, random.Random(seed), threading.Lock()
        self.alone: dict[tuple[int, int], str] = {}
        self.seconds: dict[int, list[float]] = {kind: [] for kind in range(len(TEXTS))}
        self.cancels: list[float] = []
        self.wrong = self.answered = 0
        self.levels: list[int] = []

    def request(self, kind: int, seed: int) -> Request:
        return Request(TEXTS[kind], SPEAKER, seed=seed, **QUICK)

    def learn(self, seeds: int) -> None:
        """What every request gives alone."""
        for kind in range(len(TEXTS)):
            for seed in range(seeds):
                job = self.service.engine.submit(self.request(kind, seed))
                self.alone[kind, seed] = digest(list(job))

    def one(self, _: int) -> None:
        with self.lock:
            (kind, seed), cancel = self.random.choice(list(self.alone)), self.random.random() < CANCELLED
            after = self.random.random() * 0.3
        start = time.monotonic()
        job = self.service.engine.submit(self.request(kind, seed))
        if cancel:
            threading.Timer(after, job.cancel).start()
        try:
            found = digest(list(job))
        except Cancelled:
            with self.lock:
                self.cancels.append(time.monotonic() - start - after)
            return
        with self.lock:
            self.wrong += found != self.alone[kind, seed]
            self.answered += 1
            self.seconds[kind].append(time.monotonic() - start)
            self.levels.append(memory())


def soak(requests: int, precision: str) -> bool:
    service = Service(Settings.read(model="mini", precision=precision))
    gpt = service.model.gpt
    gpt.mel_head = ShiftedHead(gpt.mel_head, service.model.config.gpt.stop_mel_token, STOP_SHIFT)
    run = Soak(service, seed=0)
    run.learn(seeds=4)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(run.one, range(requests)))
    time.sleep(CANCEL_SECONDS)
    left = service.engine.counts()
    service.engine.close()
    warm = run.levels[int(WARM * len(run.levels)) :]
    size = max(1, len(warm) // STRETCHES)
    stretches = [statistics.median(warm[at : at + size]) for at in range(0, size * STRETCHES, size)]
    growth = stretches[-1] - stretches[0]
    lost = requests - run.answered - len(run.cancels)
    print(
        f"{requests} requests, {AT_A_TIME} at a time: {run.answered} answered, {len(run.cancels)} cancelled, "
        f"{lost} lost, {run.wrong} with other bytes than alone\n"
        f"memory: {growth / 2**20:+.1f} MB, by tenths {[round(level / 2**20) for level in stretches]} MB; "
        f"left in the engine: {left}"
    )
    for kind, seconds in run.seconds.items():
        ordered = sorted(seconds)
        print(
            f"{TEXTS[kind].count(chr(10) * 2) + 1} segments: median {statistics.median(ordered):.2f} s, "
            f"95 % {ordered[int(0.95 * len(ordered))]:.2f} s, most {ordered[-1]:.2f} s"
        )
    cancels = sorted(run.cancels) or [0.0]
    print(
        f"cancelled: seen by the reader after {statistics.median(cancels):.3f} s (median), {cancels[-1]:.3f} s at most"
    )
    return not (lost or run.wrong or any(left.values())) and growth <= GROWTH_BYTES


def main() -> int:
    parser = argparse.ArgumentParser(prog="checks.engine_soak", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--precision", default="exact")
    options = parser.parse_args()
    passed = soak(options.requests, options.precision)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
