"""A gateway under a crowd, hostile requests and killed speakers: every good request has to get its bytes.

python -m checks.chaos --url http://127.0.0.1:8000 --requests 400 --clients 20 --kill 2

The texts are spoken once in quiet first. A client that is told 429 waits as it is told and asks again. Speakers are
killed by SIGKILL on this machine. The report is JSON; the status is 1 where a good request did not get its bytes.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

TEXTS = (
    "Hello.",
    "Good day.",
    "Thank you.",
    "Not now.",
    "Come in.",
    "Well done.",
    "See you.",
    "I know.",
    "Go on.",
)
VOICES = ("speaker", "george", "isabella", "puck")
CHEAP = {
    "model": "tts-1",
    "diffusion_steps": 1,
    "max_mel_tokens": 60,
    "num_beams": 1,
    "response_format": "wav",
}
HOSTILE = (
    b"{",
    b"[]",
    b'{"input": 5, "voice": "george"}',
    b'{"input": "Hi.", "voice": "../../etc"}',
    b'{"input": "Hi.", "voice": "' + b"x" * 1000 + b'"}',
    b'{"input": "Hi.", "voice": "george", "speed": 1e400}',
    b'{"input": "Hi.", "speaker": "data:audio/wav;base64,AAAA"}',
    b'{"input": "Hi.", "speaker": "file:///etc/passwd"}',
    b'{"input": "Hi.", "speaker": "https://example.org/a.wav"}',
    b'{"input": "' + b"a" * 10_000_000 + b'", "voice": "george"}',
    b'{"input": "Hi. [voice:nobody]", "voice": "george"}',
    b'{"input": "Hi.", "voice": "george", "nothing": 1}',
)
SECONDS = 300
LOOKS = 10  # at the memory of the largest speaker
MAX_TRIES = 500
REPLICA = "ServeReplica:speech:Speaker"


def good(number: int) -> dict[str, object]:
    return CHEAP | {
        "input": TEXTS[number % len(TEXTS)],
        "voice": VOICES[number % len(VOICES)],
        "seed": number % 12,
    }


def ask(url: str, body: bytes, told: collections.Counter) -> requests.Response:
    """The answer, after waiting where it says so."""
    for _ in range(MAX_TRIES):
        answer = requests.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=SECONDS)
        told[answer.status_code] += 1
        if answer.status_code != 429:
            return answer
        time.sleep(float(answer.headers["Retry-After"]) * random.uniform(0.2, 0.6))
    raise TimeoutError("told 429 for ever")


def speakers() -> list[int]:
    """Process ids of the speakers on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if REPLICA in path.read_bytes().decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def memory(pids: list[int]) -> float:
    """Resident megabytes of the largest."""
    pages = []
    for pid in pids:
        try:
            pages.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]))
        except OSError:
            continue
    return max(pages, default=0) * os.sysconf("SC_PAGE_SIZE") / 1e6


def left_behind() -> int:
    return sum(1 for _ in Path(tempfile.gettempdir()).glob("indextts-*"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m checks.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--kill", type=int, default=2, help="how often a speaker is killed")
    options = parser.parse_args(arguments)
    url, told = f"{options.url}/v1/audio/speech", collections.Counter()
    distinct = {json.dumps(good(number)).encode() for number in range(options.requests)}
    start = time.monotonic()
    quiet = {body: ask(url, body, told).content for body in distinct}
    before, folders, quiet_seconds = memory(speakers()), left_behind(), time.monotonic() - start
    told.clear()
    problems, done, killed, sizes, answered = [], threading.Semaphore(0), [], [], itertools.count(1)

    def one(number: int) -> None:
        try:
            if number % 10 == 9:
                answer = ask(url, HOSTILE[number // 10 % len(HOSTILE)], told)
                if not 400 <= answer.status_code < 500 or "error" not in answer.json():
                    problems.append(f"hostile {number // 10 % len(HOSTILE)}: {answer.status_code}")
                return
            body = json.dumps(good(number)).encode()
            answer = ask(url, body, told)
            if answer.content != quiet[body]:
                problems.append(f"request {number}: {answer.status_code}, other bytes")
        except (requests.RequestException, TimeoutError) as e:
            problems.append(f"request {number}: {type(e).__name__}")
        finally:
            done.release()
            if next(answered) % (options.requests // LOOKS or 1) == 0:
                sizes.append(round(memory(speakers())))

    def killer() -> None:
        for _turn in range(options.kill):
            for _ in range(options.requests // (options.kill + 1)):
                done.acquire()
            if running := speakers():
                killed.append(random.choice(running))
                os.kill(killed[-1], signal.SIGKILL)

    hunter = threading.Thread(target=killer, daemon=True)
    hunter.start()
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.clients) as clients:
        list(clients.map(one, range(options.requests)))
    seconds = time.monotonic() - start
    json.dump(
        {
            "requests": options.requests, "clients": options.clients, "statuses": told, "killed": len(killed),
            "problems": problems, "seconds": round(seconds, 1), "distinct": len(distinct),
            "quiet_seconds": round(quiet_seconds, 1), "left_behind": left_behind() - folders,
            "speaker_mb_before": round(before), "speaker_mb": sizes, "speaker_mb_after": round(memory(speakers())),
        },
        sys.stdout, indent=1,
    )  # fmt: skip
    print()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
