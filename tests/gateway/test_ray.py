"""The real gateway: Ray Serve, two speakers, one of them killed, and told to stop. `script/test -m ray`."""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
import requests
import yaml

from checks.chaos import speakers
from checks.server import free_port
from gateway.cluster import SHORT
from gateway.local import ready, running
from gateway.scratch import WAY_PREFIX
from tests.conftest import ROOT
from tests.gateway.conftest import QUICK

pytestmark = pytest.mark.ray
START_SECONDS = 500
CROWD = 60  # more than two speakers of 8 slots take with so short a queue


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """(process, URL, its temporary folder, whose path is too long for Ray's sockets)."""
    folder = tmp_path_factory.mktemp("gateway") / ("deep" * 30)
    folder.mkdir()
    environment = os.environ | {
        "TMPDIR": str(folder),
        "INDEXTTS_VOICES": str(folder / "voices"),
        "INDEXTTS_QUEUE": "4",
    }
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


def processes_of(folder: Path) -> dict[int, str]:
    """Processes that were started with `folder` in their environment, and what they run."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder) in (path / "environ").read_bytes().decode(errors="replace"):
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def test_speakers_that_are_killed_cost_nobody_a_byte(gateway):
    _, url, folder = gateway
    text = "Hello.\n\nGood day.\n\nThank you.\n\nGood night."
    quiet, results = speak(url, text), []
    threads = [threading.Thread(target=lambda: results.append(speak(url, text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    os.kill(min(processes_of(folder).keys() & set(speakers())), signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert results == [quiet] * 4


def test_a_full_queue_says_when_to_come_back(gateway):
    _, url, _ = gateway
    body = {"input": "Hello.\n\nGood day.", "voice": "rms", "response_format": "wav", **QUICK}

    def ask(_) -> requests.Response:
        return requests.post(f"{url}/v1/audio/speech", json=body, timeout=300)

    quiet = ask(0).content
    with ThreadPoolExecutor(CROWD) as clients:
        answers = list(clients.map(ask, range(CROWD)))
    told = collections.Counter(answer.status_code for answer in answers)
    assert set(told) == {200, 429}, told
    for answer in answers:
        if answer.status_code == 200:
            assert answer.content == quiet
        else:
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.json()["error"]["code"] == "queue_full"


def test_what_a_speaker_cannot_read_is_told_as_it_is(gateway):
    _, url, folder = gateway
    voice = {"name": "gone", "consent": "mine"}
    with (ROOT / "examples/awb.flac").open("rb") as clip:  # which no other test speaks with
        added = requests.post(f"{url}/v1/audio/voices", data=voice, files={"audio_sample": clip}, timeout=300)
    assert added.status_code == 201
    (clip,) = (folder / "voices/gone").glob("clip-*")
    clip.unlink()
    body = {"input": "Hello.", "voice": "gone", **QUICK}
    answer = requests.post(f"{url}/v1/audio/speech", json=body, timeout=300)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        503,
        "the file of voice 'gone' cannot be read",
    )


def test_it_ends_with_what_is_under_way_and_leaves_nothing(gateway):
    """Told as a process manager and a terminal tell it: the signal goes to its whole process group."""
    process, url, folder = gateway
    text, results = "Hello.\n\nGood day.", []
    quiet = speak(url, text)
    thread = threading.Thread(target=lambda: results.append(speak(url, text)))
    thread.start()
    until = time.monotonic() + 60
    while "indextts_requests_under_way 1.0" not in requests.get(f"{url}/metrics").text:
        assert time.monotonic() < until
    assert os.getpgid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGTERM)
    assert not results
    thread.join()
    assert results == [quiet]
    assert process.wait(120) == 0
    assert not processes_of(folder)
    assert not list(Path(folder).glob("indextts-*"))
    assert not [place for place in SHORT if os.path.lexists(f"{place}/{WAY_PREFIX}{process.pid}")]


def test_it_ends_when_who_started_it_is_killed(tmp_path):
    program = f"""
import os, signal
from gateway.local import running
environment = os.environ | {{"TMPDIR": {str(tmp_path)!r}, "INDEXTTS_VOICES": {str(tmp_path / "voices")!r}}}
with running("--model", "tiny-en", start_seconds={START_SECONDS}, environment=environment):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        environment = os.environ | {"RAY_TMPDIR": folder}
        started = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, timeout=START_SECONDS
        )
        assert started.returncode == -signal.SIGKILL
        until = time.monotonic() + 120
        while left := processes_of(tmp_path):
            assert time.monotonic() < until, left
            time.sleep(0.5)
    assert not list(tmp_path.glob("indextts-*"))


def test_serve_runs_the_configuration(tmp_path):
    told = yaml.safe_load((ROOT / "serve.yaml").read_text())
    port = free_port()
    told["http_options"] = {"host": "127.0.0.1", "port": port}
    told["applications"][0]["args"]["INDEXTTS_VOICES"] = str(tmp_path / "voices")
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(told))
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(tmp_path / "serve.yaml")]
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, (tmp_path / "log").open("w") as log:
        environment = os.environ | {"RAY_TMPDIR": folder}
        served = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            while not ready(url, 1):
                assert served.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.5)
            assert len(speak(url, "Hello.")) > 1000
        finally:
            served.send_signal(signal.SIGINT)
            served.wait(120)


def test_the_configuration_is_one_that_serve_takes():
    from ray.serve.schema import ServeDeploySchema

    from gateway.application import NAME
    from gateway.settings import GatewaySettings

    (told,) = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "serve.yaml").read_text())).applications
    assert told.name == NAME and told.import_path == "gateway.application:build"
    assert GatewaySettings.read(told.args).max_replicas == 4
