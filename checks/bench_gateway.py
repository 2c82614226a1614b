"""What the gateway adds to a request, and what a second speaker brings: `script/bench --gateway`.

Side by side in one run: the service called directly in this process, and a gateway on this machine, request
by request in turn, over a connection of the standard library that stays open. Beside the whole time, the time
outside the stages is told for both (what a request takes less the seconds that its stages report, but for the
encoding, which is no stage of a stream): their difference is what the gateway adds, whatever else the machine
does. Then what a client of the `openai` package waits for, and as many requests as can be by several clients at
once: with one speaker, with one held to a single core, and with two. A speaker decodes on one thread and voices on a
second, so that one alone has more than a core: the second speaker's gain is told against both.

`--long N` in place of that: seconds to the first sound of a text of N characters, whose reader then leaves.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import requests

from checks.engine import SENTENCES
from gateway.body import QUICK_START_TOKENS
from gateway.local import running
from service.request import Request
from service.service import Service
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
TEXT = "Hello."
QUICK = {"max_mel_tokens": 60, "diffusion_steps": 1, "num_beams": 1}
START_SECONDS, LONG_SECONDS = 300, 300
PAUSE_SECONDS = 3.0
CLIENTS = 6
TIMING = "timing."
READ_BYTES = 2**16
WARM = 3  # requests before those that count
PARAGRAPH = " ".join(SENTENCES)  # what the `openai` client hears


def gateway(model: str, replicas: int) -> contextlib.AbstractContextManager:
    """`running` with so many speakers of a model."""
    arguments = ("--replicas", str(replicas), "--model", model)
    return running(*arguments, speakers=replicas, start_seconds=START_SECONDS, folder=ROOT, quiet=True)


def staged(metrics: dict[str, object]) -> float:
    """Seconds in the stages that both have: a gateway's stream is encoded outside them."""
    names = [name for name in metrics if name.startswith(TIMING) and name != f"{TIMING}encode"]
    return sum(float(metrics[name]) for name in names)


def over_http(client: HTTPConnection, seed: int) -> tuple[float, float, float]:
    """Seconds: in all, outside the stages, to the first audio."""
    inputs = {"input": TEXT, "voice": "speaker", "response_format": "wav", "stream_format": "sse"}
    body = json.dumps(inputs | {"seed": seed} | QUICK)
    start, first = time.perf_counter(), 0.0
    client.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
    with client.getresponse() as answer:
        if answer.status != 200:
            raise ValueError(f"the gateway says {answer.status}: {answer.read(200).decode()}")
        for line in filter(bytes.strip, answer):
            event = json.loads(line.removeprefix(b"data: "))
            if event["type"] == "speech.audio.delta" and not first and base64.b64decode(event["audio"]):
                first = time.perf_counter() - start
    whole = time.perf_counter() - start
    return whole, whole - staged(event["metrics"]), first


@contextlib.contextmanager
def connected(url: str) -> Iterator[HTTPConnection]:
    client = HTTPConnection(url.removeprefix("http://"), timeout=LONG_SECONDS)
    try:
        yield client
    finally:
        client.close()


def directly(service: Service, seed: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = service.run(Request(TEXT, ROOT / "examples/speaker.wav", seed=seed, **QUICK), Path(folder))
        result.path.read_bytes()
        whole = time.perf_counter() - start
    return whole, whole - staged(result.metrics), whole


def first_of_long(service: Service, url: str, text: str, seed: int) -> tuple[float, float]:
    """Seconds to the first sound of `text`: directly, over HTTP."""
    inputs = {"quick_start_tokens": QUICK_START_TOKENS, "seed": seed}
    start = time.perf_counter()
    job = service.engine.submit(Request(text, ROOT / "examples/speaker.wav", **inputs))
    next(part for part in job if len(part.chunk.wave))
    direct = time.perf_counter() - start
    job.cancel()
    body = {"input": text, "voice": "speaker", "response_format": "pcm"} | inputs
    start = time.perf_counter()
    with requests.post(f"{url}/v1/audio/speech", json=body, stream=True, timeout=LONG_SECONDS) as answer:
        answer.raise_for_status()
        next(answer.iter_content(READ_BYTES))
    return direct, time.perf_counter() - start


def long_text(service: Service, model: str, characters: int, rounds: int) -> dict[str, object]:
    """First sounds of a text of so many characters, directly and over HTTP in turn."""
    text = (" ".join(SENTENCES) + " ") * (characters // len(SENTENCES[0]) + 1)
    with gateway(model, 1) as (_, url):
        pairs = []
        for seed in range(rounds + 1):
            pairs.append(first_of_long(service, url, text[:characters], seed))
            time.sleep(PAUSE_SECONDS)  # until what was left has ended
    direct, through = ([round(value, 2) for value in column] for column in zip(*pairs[1:], strict=True))
    return {"characters": characters, "first_sound_s": {"direct": direct, "gateway": through}}


def by_openai(url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds to the first audio and to the last, of a paragraph streamed to the `openai` client."""
    import openai

    client, found = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0), []
    for seed in range(rounds + 1):
        start = time.perf_counter()
        with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="speaker", input=PARAGRAPH, response_format="pcm", extra_body={"seed": seed}
        ) as answer:
            parts = answer.iter_bytes()
            next(part for part in parts if part)
            first = time.perf_counter() - start
            heard = sum(map(len, parts))
        if not heard:
            raise ValueError("all audio came at once: the answer was not streamed")
        found.append((first, time.perf_counter() - start))
    firsts, wholes = ([round(value, 2) for value in column] for column in zip(*found[1:], strict=True))
    return {"first_audio": firsts, "whole": wholes}


@contextlib.contextmanager
def held_to_one_core() -> Iterator[None]:
    """What is started meanwhile has one core; this process has them all again afterwards."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def rate(url: str, seconds: float) -> float:
    """Requests a second of CLIENTS at once."""
    until, done = time.monotonic() + seconds, 0

    def ask(client: int) -> int:
        count = 0
        with connected(url) as connection:
            while time.monotonic() < until:
                over_http(connection, client)
                count += 1
        return count

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        done = sum(clients.map(ask, range(CLIENTS)))
    return done / (time.monotonic() - start)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/bench --gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-en")
    parser.add_argument("--requests", type=int, default=40, help="of each side by side")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each crowd")
    parser.add_argument("--long", type=int, metavar="N", help="only the first sound of N characters")
    parser.add_argument("--rounds", type=int, default=3, help="of the first audio")
    options = parser.parse_args(arguments)
    service = Service(Settings.read(model=options.model, threads=1))
    service.warm_up()
    if options.long:
        print(json.dumps(long_text(service, options.model, options.long, options.rounds), indent=1))
        return 0
    report: dict[str, object] = {"model": options.model, "requests": options.requests}

    with gateway(options.model, 1) as (_, url):
        with connected(url) as client:
            seeds = range(options.requests + WARM)
            pairs = [(directly(service, n), over_http(client, n)) for n in seeds][WARM:]
        report["openai_client_s"] = by_openai(url, options.rounds)
        one = rate(url, options.seconds)
    with contextlib.ExitStack() as stack:
        with held_to_one_core():
            _, url = stack.enter_context(gateway(options.model, 1))
        one_core = rate(url, options.seconds)
    with gateway(options.model, 2) as (_, url):
        two = rate(url, options.seconds)
    for index, name in enumerate(("whole", "outside_stages", "first_audio")):
        direct, through = (statistics.median(pair[side][index] for pair in pairs) for side in (0, 1))
        report[f"{name}_ms"] = {
            "direct": round(1000 * direct, 1), "gateway": round(1000 * through, 1),
            "added": round(1000 * (through - direct), 1),
        }  # fmt: skip
    report["requests_a_second"] = {
        "one": round(one, 2),
        "one_held_to_one_core": round(one_core, 2),
        "two": round(two, 2),
        "gain": round(two / one, 2),
        "gain_to_one_core": round(two / one_core, 2),
    }
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
