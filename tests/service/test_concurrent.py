"""`script/serve --concurrent`: several requests at a time, each with the bytes it has alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from checks.hostile import body_of, clip_of, valid_inputs
from tests.cog_rules import read_predictor
from tests.conftest import ROOT
from tests.service.server import ANSWER_SECONDS, CogServer, wave_of

TOGETHER = 4


@pytest.fixture(scope="module")
def server(concurrent) -> CogServer:
    return concurrent.bare()


@pytest.fixture(scope="module")
def asked() -> list[dict]:
    valid = valid_inputs(clip_of())
    return [valid | {"text": "One. " * (1 + seed), "seed": seed} for seed in range(TOGETHER)]


@pytest.fixture(scope="module")
def alone(server, asked) -> list[bytes]:
    return [wave_of(server.predict(**inputs)) for inputs in asked]


def test_cog_reads_the_inputs_of_the_predictor():
    one, many = (
        read_predictor(ROOT / "predict.py", name, "predict") for name in ("Predictor", "ConcurrentPredictor")
    )
    assert one == many


def test_at_the_same_time_the_same_bytes(server, asked, alone):
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(lambda inputs: server.send(body_of(inputs)), asked * 2))
    assert [answer["status"] for answer in answers] == ["succeeded"] * (2 * TOGETHER)
    assert [wave_of(answer) for answer in answers] == alone * 2
    assert all(answer["metrics"]["seed"] == n % TOGETHER for n, answer in enumerate(answers))


def test_one_is_cancelled_and_one_fails_and_the_others_go_on(server, asked, alone):
    long = asked[0] | {"text": "A long story. " * 100, "max_mel_tokens": 1815}
    with ThreadPoolExecutor(4) as pool:
        cancelled = pool.submit(server.send, body_of(long, id="long"))
        refused = pool.submit(server.send, body_of(asked[0] | {"text": "?!"}))
        other = pool.submit(server.send, body_of(asked[1]))
        time.sleep(0.5)
        end = time.monotonic() + ANSWER_SECONDS
        while requests.post(f"{server.url}/predictions/long/cancel", timeout=10).status_code != 200:
            assert time.monotonic() < end
            threading.Event().wait(0.05)
        assert cancelled.result(ANSWER_SECONDS)["status"] == "canceled"
        assert "nothing to read aloud" in refused.result(ANSWER_SECONDS)["error"]
        assert wave_of(other.result(ANSWER_SECONDS)) == alone[1]
    assert wave_of(server.predict(**asked[2])) == alone[2]
