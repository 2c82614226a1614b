"""The real gateway: Ray Serve, two speakers, one of them killed, and told to stop. `script/test -m ray`."""

import os
import signal
import threading
import time
from pathlib import Path

import openai
import pytest
import requests

from checks.chaos import speakers
from gateway.local import running
from tests.conftest import ROOT
from tests.gateway.conftest import QUICK

pytestmark = pytest.mark.ray
START_SECONDS = 500


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """(process, URL, its temporary folder)."""
    folder = tmp_path_factory.mktemp("gateway")
    environment = os.environ | {"TMPDIR": str(folder), "INDEXTTS_VOICES": str(folder / "voices")}
    arguments = ("--replicas", "2", "--model", "tiny-en")
    with running(
        *arguments, speakers=2, start_seconds=START_SECONDS, environment=environment, folder=ROOT
    ) as (process, url):
        yield process, url, folder


def speak(url: str, text: str) -> bytes:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="rms", input=text, response_format="wav", extra_body=QUICK
    ) as answer:
        return b"".join(answer.iter_bytes())


def test_speakers_that_are_killed_cost_nobody_a_byte(gateway):
    _, url, folder = gateway
    text = "Hello.\n\nGood day.\n\nThank you.\n\nGood night."
    quiet, results = speak(url, text), []
    threads = [threading.Thread(target=lambda: results.append(speak(url, text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    own = [pid for pid in speakers() if str(folder) in Path(f"/proc/{pid}/environ").read_text()]
    os.kill(own[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert results == [quiet] * 4


def test_it_ends_with_what_is_under_way_and_leaves_nothing(gateway):
    process, url, folder = gateway
    results = []
    thread = threading.Thread(target=lambda: results.append(speak(url, "Hello.\n\nGood day.")))
    thread.start()
    until = time.monotonic() + 60
    while "indextts_requests_under_way 1.0" not in requests.get(f"{url}/metrics").text:
        assert time.monotonic() < until
    process.send_signal(signal.SIGTERM)
    thread.join()
    assert results and len(results[0]) > 1000
    assert process.wait(120) == 0
    assert not list(Path(folder).glob("indextts-*"))


def test_the_configuration_is_one_that_serve_takes():
    import yaml
    from ray.serve.schema import ServeDeploySchema

    from gateway.application import NAME
    from gateway.settings import GatewaySettings

    (told,) = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "serve.yaml").read_text())).applications
    assert told.name == NAME and told.import_path == "gateway.application:build"
    assert GatewaySettings.read(told.args).max_replicas == 4
