"""`script/serve --stream`: the streaming predictor under its own schema, as server-sent events."""

import base64
import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import requests
import soundfile

from checks.hostile import body_of, clip_of, valid_inputs
from tests.conftest import ROOT
from tests.service.server import ANSWER_SECONDS, CogServer

TEXT = "One fox ran over the hill.\n\nTwo dogs slept in the sun.\n\nThree cats sat on the wall."


@pytest.fixture(scope="module")
def server(streaming) -> CogServer:
    return streaming.bare()


@pytest.fixture(scope="module")
def valid() -> dict:
    return valid_inputs(clip_of()) | {"text": TEXT}


def events(server: CogServer, inputs: dict) -> Iterator[tuple[str, dict]]:
    """(event, data) of a streamed prediction as they arrive; leaving early hangs up."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    server.wait_until_ready()  # the slot is free a moment after the answer before
    with requests.post(
        f"{server.url}/predictions",
        data=body_of(inputs),
        headers=headers,
        stream=True,
        timeout=ANSWER_SECONDS,
    ) as answer:
        assert answer.status_code == 200, answer.text
        event = ""
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield event, json.loads(line.removeprefix("data: "))


def samples_of(uri: str) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])), dtype="int16")
    assert rate == 22050
    return samples


@pytest.fixture(scope="module")
def whole(server, valid) -> np.ndarray:
    """Samples of the same request without a stream: a list of files at the end."""
    answer = server.predict(**valid)
    assert answer["status"] == "succeeded", answer
    return np.concatenate([samples_of(uri) for uri in answer["output"]])


def test_chunks_come_one_by_one_and_are_the_whole(server, valid, whole):
    found = list(events(server, valid))
    names = [name for name, _ in found if name != "log"]
    chunks = [data for name, data in found if name == "output"]
    assert names == ["start", *["output"] * len(chunks), "completed"] and len(chunks) >= 3
    assert [chunk["index"] for chunk in chunks] == list(range(len(chunks)))
    assert (np.concatenate([samples_of(chunk["chunk"]) for chunk in chunks]) == whole).all()
    assert found[-1][1]["status"] == "succeeded"


def test_its_schema_is_its_own(server):
    schema = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    assert schema == json.loads((ROOT / ".cog/stream/.cog/openapi_schema.json").read_text())
    assert schema["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    assert schema["components"]["schemas"]["Output"]["x-cog-array-type"] == "iterator"


@pytest.mark.parametrize(
    "change, status, message",
    [
        ({"num_beams": 9}, "http_422", "greater than the maximum of 8"),
        ({"text": " "}, "failed", "white space"),
        ({"speaker": "/etc/passwd"}, "failed", "speaker is not a file"),
    ],
)
def test_bad_input_is_told_as_elsewhere(server, valid, change, status, message):
    answer = server.predict(**valid | change)
    assert answer["status"] == status and message in str(answer["error"])


def test_chunks_come_while_a_segment_is_made(server, valid):
    wanted = {"stream": "chunks", "max_mel_tokens": 200, "text": "One fox ran over the hill."}
    found = list(events(server, valid | wanted))
    chunks = [samples_of(data["chunk"]) for name, data in found if name == "output"]
    assert len(chunks) >= 3 and found[-1][1]["status"] == "succeeded"
    assert 22050 / 5 < len(chunks[0]) < 22050


def test_a_failed_stream_ends_with_its_error(server, valid):
    name, data = list(events(server, valid | {"text": "?!"}))[-1]
    assert name == "completed" and data["status"] == "failed" and "nothing to read aloud" in data["error"]


def test_hanging_up_ends_the_request_and_the_next_one_is_the_same(server, valid, whole):
    stream = events(server, valid | {"text": "A long story. " * 200})
    assert any(name == "output" for name, _ in stream)
    stream.close()
    server.wait_until_ready()
    answer = server.predict(**valid)
    assert (np.concatenate([samples_of(uri) for uri in answer["output"]]) == whole).all()
    assert all(path.count("/") == 1 and path.startswith("indextts-") for path in server.left_behind())
