"""`script/serve --front`: requests wait for their turn, unknown inputs are refused, errors are told once."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from checks.hostile import clip_of, valid_inputs
from gateway.front import said_once
from tests.conftest import ROOT
from tests.service.server import ANSWER_SECONDS, CogServer, wave_of


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with CogServer(tmp_path_factory.mktemp("front"), "--front", INDEXTTS_MODEL="mini") as server:
        yield server


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    with CogServer(
        tmp_path_factory.mktemp("front-stream"), "--stream", "--front", INDEXTTS_MODEL="mini"
    ) as server:
        yield server


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


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"input": 5}', b"[" * 100_000, b"\xff"])
def test_a_broken_body_is_refused_by_the_server_behind(server, body):
    assert server.post(body).status_code in (400, 422)
    assert ask(server, valid()).json()["status"] == "succeeded"


def test_only_a_clients_paths_are_served(server):
    assert requests.post(f"{server.url}/shutdown", timeout=10).status_code == 404
    schema = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    assert schema == json.loads((ROOT / ".cog/openapi_schema.json").read_text())
    assert server.health() == "READY"


def test_a_stream_comes_event_by_event_and_hanging_up_ends_it(stream):
    headers = {"Accept": "text/event-stream"}
    long = valid() | {"text": "A long story. " * 200}
    with requests.post(
        f"{stream.url}/predictions",
        json={"input": long},
        headers=headers,
        stream=True,
        timeout=ANSWER_SECONDS,
    ) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert any(line == b"event: output" for line in answer.iter_lines())
    assert ask(stream, valid()).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    "error, told",
    [
        ("Prediction failed: Prediction failed: ValueError: text is empty", "text is empty"),
        ("Prediction failed: Prediction failed: OSError: no space", "OSError: no space"),
        ("text says Prediction failed: ValueError: x", "text says Prediction failed: ValueError: x"),
    ],
)
def test_prefixes_go_and_nothing_else(error, told):
    answer = {"error": error, "status": "failed", "output": None, "id": "é"}
    assert json.loads(said_once(json.dumps(answer).encode())) == answer | {"error": told}
    for body in (b"", b"{}", b'[{"error": "Prediction failed: x"}]', b"not json"):
        assert said_once(body) == body
