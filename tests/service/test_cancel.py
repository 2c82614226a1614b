"""A request cancelled at each stage ends there, leaves nothing, and the next one gives the same bytes."""

import http.server
import json
import queue
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from checks.hostile import SPEAKER as EXAMPLE
from checks.hostile import body_of, clip_of, valid_inputs
from tests.service.server import ANSWER_SECONDS, CogServer, data_uri, wave_of

WORDS = "The quick brown fox jumps over the lazy dog and runs away. "
PAUSES = "Hi. " + " [pause:10s] a" * 6
LONG_CLIP_SECONDS, LONG_CLIP_RATE = 550, 16_000


def long_clip() -> bytes:
    """The example's WAV file with its samples again and again, and a header that says so, at a rate that takes long to
    change."""
    whole = EXAMPLE.read_bytes()
    start = whole.index(b"data") + 8
    size = LONG_CLIP_SECONDS * LONG_CLIP_RATE * 2
    body = (whole[start:] * (size // (len(whole) - start) + 1))[:size]
    rates = LONG_CLIP_RATE.to_bytes(4, "little") + (LONG_CLIP_RATE * 2).to_bytes(4, "little")
    return (
        whole[:4]
        + (start - 8 + size).to_bytes(4, "little")
        + whole[8:24]
        + rates
        + whole[32 : start - 4]
        + size.to_bytes(4, "little")
        + body
    )


# What makes a stage long enough to be caught in.
LONG = {
    "text": {"text": WORDS * 330, "glossary": "\n".join(f"w{i}=x{i}" for i in range(300))},
    "voice": {"speaker": data_uri(long_clip())},
    "gpt": {
        "text": WORDS * 3,
        "max_mel_tokens": 1815,
        "num_beams": 8,
        "temperature": 0,
        "repetition_penalty": 1.0,
    },
    "s2mel": {"text": WORDS * 2, "max_mel_tokens": 600, "diffusion_steps": 100},
    "vocoder": {"text": WORDS * 2, "max_mel_tokens": 1815},
    "encode": {"text": PAUSES, "output_format": "mp3", "sample_rate": 48000, "loudness": -16, "speed": 0.5},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CogServer(
        tmp_path_factory.mktemp("cancel"),
        INDEXTTS_MODEL="mini",
        COG_PREDICT_TYPE_STUB="tests/service/announcing.py:Predictor",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def valid() -> dict:
    return valid_inputs(clip_of())


@pytest.fixture(scope="module")
def first(server, valid) -> bytes:
    return wave_of(server.predict(**valid))


def wait_for(server: CogServer, stage: str, start: int) -> None:
    """Until the server's log says, after its character `start`, that a request is at `stage`."""
    while f"announcing: stage {stage}" not in server.log.read_text()[start:]:
        assert server.process.poll() is None, f"the server ended before {stage}"
        time.sleep(0.01)


def cancel(server: CogServer, name: str) -> int:
    return requests.post(f"{server.url}/predictions/{name}/cancel", timeout=ANSWER_SECONDS).status_code


@pytest.mark.parametrize("stage", LONG)
def test_a_cancelled_request_stops_and_leaves_nothing(server, valid, first, stage):
    worker, log = server.worker(), len(server.log.read_text())
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.send, body_of(valid | LONG[stage], id=stage))
        wait_for(server, stage, log)
        assert cancel(server, stage) == 200
        after = server.predict(**valid)  # taken as soon as the slot is free
        assert answer.result(ANSWER_SECONDS)["status"] == "canceled"
    told = server.log.read_text()[log:]
    reached = re.findall(rf'announcing: stage (\w+)","prediction_id":"{stage}"', told)
    assert reached[-1] == stage, "no later stage was begun"
    assert wave_of(after) == first and server.worker() == worker
    assert [path for path in server.left_behind() if not path.endswith("/speech.wav")] == []


def test_hanging_up_cancels(server, valid, first):
    server.wait_until_ready()
    log = len(server.log.read_text())
    body = body_of(valid | LONG["s2mel"])
    head = (
        "POST /predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_SECONDS) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        wait_for(server, "s2mel", log)
    server.wait_until_ready()
    assert wave_of(server.predict(**valid)) == first
    assert "announcing: stage encode" not in server.log.read_text()[log:].split("announcing: stage text")[1]


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        """Nothing."""


def test_an_asynchronous_request_is_told_of_by_its_webhook(server, valid, first):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        hook.told = queue.Queue()
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        log = len(server.log.read_text())
        body = body_of(
            valid | LONG["s2mel"],
            id="later",
            webhook=f"http://127.0.0.1:{hook.server_port}",
            webhook_events_filter=["completed"],
        )
        answer = server.post(body, Prefer="respond-async")
        assert answer.status_code == 202 and answer.json()["status"] in ("starting", "processing")
        wait_for(server, "s2mel", log)
        assert server.health() == "BUSY"
        assert cancel(server, "later") == 200
        assert hook.told.get(timeout=ANSWER_SECONDS)["status"] == "canceled"
        hook.shutdown()
    server.wait_until_ready()
    assert cancel(server, "later") == 404
    assert wave_of(server.predict(**valid)) == first
