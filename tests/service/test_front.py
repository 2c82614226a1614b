"""The front of `script/serve`: requests wait for their turn, unknown inputs are refused, errors are told once."""

import asyncio
import json
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from checks.hostile import clip_of, valid_inputs
from gateway.told_once import event_said_once, said_once, whole_lines
from tests.conftest import ROOT
from tests.service.server import ANSWER_SECONDS, CogServer, wave_of


@pytest.fixture(scope="module")
def server(fronted):
    return fronted


def ask(server: CogServer, inputs: dict) -> requests.Response:
    """Once: no second try."""
    return requests.post(f"{server.url}/predictions", json={"input": inputs}, timeout=ANSWER_SECONDS)


def valid() -> dict:
    return valid_inputs(clip_of())


def test_requests_at_once_and_one_after_the_other_are_all_answered(server):
    start = threading.Barrier(6)

    def one(_) -> list[requests.Response]:
        start.wait()
        return [ask(server, valid()), ask(server, valid() | {"text": " "}), ask(server, valid())]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(one, range(6)))
    told = [[answer.json()["status"] for answer in each] for each in answers]
    assert told == [["succeeded", "failed", "succeeded"]] * 6
    assert len({wave_of(answer.json()) for each in answers for answer in each[::2]}) == 1


def test_an_unknown_input_is_named(server):
    answer = ask(server, valid() | {"sped": 2, "speed ": 1})
    assert answer.status_code == 422
    assert {problem["loc"][-1] for problem in answer.json()["detail"]} == {"sped", "speed "}
    assert all(problem["type"] == "value_error.extra" for problem in answer.json()["detail"])


def test_an_error_says_what_is_wrong_once(server):
    answer = ask(server, valid() | {"text": " "}).json()
    assert answer["status"] == "failed" and answer["error"].startswith("the text is "), answer


def test_a_streams_error_says_what_is_wrong_once(streaming):
    answer = requests.post(
        f"{streaming.url}/predictions",
        json={"input": valid() | {"text": " "}},
        headers={"Accept": "text/event-stream"},
        timeout=ANSWER_SECONDS,
    )
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(data[-1])["error"].startswith("the text is "), answer.text


class Receiver(BaseHTTPRequestHandler):
    """Of webhooks; it fails at the first that says how a prediction ended."""

    told: "queue.Queue[tuple[str, dict]]" = queue.Queue()
    failed = False

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.told.put((self.path, content))
        fails = content["status"] == "failed" and not type(self).failed
        type(self).failed |= fails
        self.send_response(500 if fails else 200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_webhooks_error_says_what_is_wrong_once_where_it_was_asked_for(server, asynchronous):
    Receiver.failed = asynchronous  # the second time nothing goes wrong
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/hook?of=mine"
        body = {"input": valid() | {"text": " "}, "webhook": url, "webhook_events_filter": ["completed"]}
        headers = {"Prefer": "respond-async"} if asynchronous else {}
        answer = requests.post(
            f"{server.url}/predictions", json=body, headers=headers, timeout=ANSWER_SECONDS
        )
        assert answer.status_code == (202 if asynchronous else 200)
        tries = [Receiver.told.get(timeout=ANSWER_SECONDS) for _ in range(1 if asynchronous else 2)]
        receiver.shutdown()
    assert all(path == "/hook?of=mine" for path, _ in tries)
    assert all(content["error"].startswith("the text is ") for _, content in tries), tries
    assert len({content["id"] for _, content in tries}) == 1, "told again after the receiver had failed"


def test_nobody_else_sends_through_the_front(server):
    body = {"status": "failed", "error": "x"}
    for path in ("/webhooks/x", "/webhooks/"):
        assert requests.post(f"{server.url}{path}", json=body, timeout=10).status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": 5}', b"[" * 100_000, b"\xff"])
def test_a_broken_body_is_refused_by_the_server_behind(server, body):
    assert server.post(body).status_code in (400, 422)
    assert ask(server, valid()).json()["status"] == "succeeded"


def test_only_a_clients_paths_are_served(server):
    assert requests.post(f"{server.url}/shutdown", timeout=10).status_code == 404
    schema = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    assert schema == json.loads((ROOT / ".cog/openapi_schema.json").read_text())
    assert server.health() == "READY"


def test_a_stream_comes_event_by_event_and_hanging_up_ends_it(streaming):
    headers = {"Accept": "text/event-stream"}
    long = valid() | {"text": "A long story. " * 200}
    with requests.post(
        f"{streaming.url}/predictions",
        json={"input": long},
        headers=headers,
        stream=True,
        timeout=ANSWER_SECONDS,
    ) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert any(line == b"event: output" for line in answer.iter_lines())
    assert ask(streaming, valid()).json()["status"] == "succeeded"


def test_several_at_a_time_pass_where_the_server_makes_several(concurrent):
    server, inputs = concurrent, valid() | {"text": "A long story. " * 400}
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.send, json.dumps({"input": inputs, "id": "long"}).encode())
        assert ask(server, valid()).json()["status"] == "succeeded"
        assert not long.done()
        while requests.post(f"{server.url}/predictions/long/cancel", timeout=10).status_code != 200:
            assert not long.done()
        assert long.result()["status"] == "canceled"


@pytest.mark.parametrize(
    "error, told",
    [
        ("Prediction failed: Prediction failed: ValueError: text is empty", "text is empty"),
        ("Prediction failed: Prediction failed: OSError: no space", "OSError: no space"),
        ("Prediction failed: Generator iteration error: ValueError: text is empty", "text is empty"),
        ("text says Prediction failed: ValueError: x", "text says Prediction failed: ValueError: x"),
    ],
)
def test_prefixes_go_and_nothing_else(error, told):
    answer = {"error": error, "status": "failed", "output": None, "id": "é"}
    assert json.loads(said_once(json.dumps(answer).encode())) == answer | {"error": told}
    for body in (b"", b"{}", b'[{"error": "Prediction failed: x"}]', b"not json"):
        assert said_once(body) == body


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_is_the_same_in_whatever_pieces_it_comes(size):
    error = {"error": "Prediction failed: ValueError: x", "status": "failed"}
    before = f'event: output\ndata: {{"chunk": "é"}}\n\nevent: completed\ndata: {json.dumps(error)}\n\nlast'.encode()

    async def through() -> bytes:
        async def chunks():
            for start in range(0, len(before), size):
                yield before[start : start + size]

        pieces = [piece async for piece in whole_lines(chunks())]
        assert all(piece.endswith(b"\n") for piece in pieces[:-1])
        return b"\n".join(map(event_said_once, b"".join(pieces).split(b"\n")))

    assert asyncio.run(through()) == before.replace(b"Prediction failed: ValueError: x", b"x")
