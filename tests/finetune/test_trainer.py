"""The trainer behind Cog's real server, its inputs, and the command."""

import dataclasses
import inspect
import io
import json
import math
import re
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
import requests

from checks.server import CogServer, data_uri, descendants, wave_of
from finetune import command
from finetune.options import DEFAULT_STEPS, Options
from service.fields import Choice, Number
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import ROOT
from train import Inputs, Trainer

QUICK = {"steps": 1, "batch_seconds": 2.5, "train_gpt": False, "validation_share": 0.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainer")
    work = tmp_path_factory.mktemp("work")
    with CogServer(
        folder, "--train", INDEXTTS_MODEL="tiny-en", INDEXTTS_FEATURES="", INDEXTTS_TRAINING_WORK=str(work)
    ) as server:
        server.work = work
        yield server


def train(server, **inputs) -> dict:
    answer = server.post(json.dumps({"input": inputs}).encode(), "/trainings")
    return answer.json() | {"code": answer.status_code}


def test_limits_choices_and_defaults_are_the_options_own():
    """Said a second time in train.py, because Cog takes them from literals alone."""
    fields = {field.name: field for field in dataclasses.fields(Options)}
    parameters = inspect.signature(Trainer.train).parameters
    assert [name for name in parameters if name != "self"] == list(fields)
    for name, field in fields.items():
        declared, check = parameters[name].default, field.metadata.get("check")
        low_high = (check.low, check.high) if isinstance(check, Number) else (None, None)
        assert (declared.ge, declared.le) == low_high, name
        assert declared.choices == (list(check.values) if isinstance(check, Choice) else None), name
        assert declared.default == field.default, name
    assert f"or {DEFAULT_STEPS}." in Inputs.steps.description
    told = [float(number) for number in re.findall(r"0\.\d*1", Inputs.learning_rate.description)]
    assert told == [Options(method=method).rate() for method in ("lora", "full")]


@pytest.fixture(scope="module")
def trained(server, archive, tmp_path_factory):
    """The archive that the real server gave."""
    inputs = {"steps": 2, "batch_seconds": 2.5, "seed": 1}
    answer = train(server, dataset=data_uri(archive.read_bytes(), "application/zip"), **inputs)
    path = tmp_path_factory.mktemp("trained") / "training.zip"
    path.write_bytes(wave_of(answer))
    assert list(server.work.iterdir()) == []  # a training that was finished leaves nothing
    return path


def test_the_archive_says_what_was_done_and_holds_what_it_says(server, trained, tmp_path):
    with zipfile.ZipFile(trained) as packed:
        packed.extractall(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["form"] == "LJSpeech" and report["recordings"] == 6 and report["base"] == "tiny-en"
    assert report["clips"]["trained_on"] == 5 and report["clips"]["held_out"] == 1
    assert report["trained"]["gpt"]["steps"] == report["trained"]["s2mel"]["steps"] == 2
    for part in ("gpt", "s2mel"):
        assert all(math.isfinite(entry["loss"]) for entry in report["trained"][part]["held_out"])
        assert (tmp_path / f"losses-{part}.png").read_bytes().startswith(b"\x89PNG")
    assert len(report["samples"]) == 2
    for sample in report["samples"]:
        assert (tmp_path / sample["before"]).read_bytes() != (tmp_path / sample["after"]).read_bytes()
    assert re.search(r"-i adapter=@adapter.safetensors", (tmp_path / "README.md").read_text())
    assert "features of 6 of 6" in server.log.read_text()


def test_a_fresh_service_takes_the_archive_and_the_voice_in_it(trained, tmp_path):
    with zipfile.ZipFile(trained) as packed:
        packed.extract("voice.voice.safetensors", tmp_path)
    service = Service(Settings.read(model="tiny-en", features=()))
    voice = tmp_path / "voice.voice.safetensors"
    plain, adapted, again = (
        service.run(Request("Hello.", voice, adapter=adapter, seed=1), tmp_path).path.read_bytes()
        for adapter in (None, trained, None)
    )
    assert plain == again != adapted


def test_the_server_waits_without_pytorch(server):
    """Every training has a process of its own, which imports it: a second and a half that nobody waits for."""
    assert "libtorch" not in Path(f"/proc/{server.worker()}/maps").read_text()


def test_the_data_set_is_looked_at_before_the_model(tmp_path, monkeypatch):
    """Which may be fetched and loaded for minutes. Here it is none."""
    (tmp_path / "dataset.zip").write_bytes(b"PK")
    (tmp_path / command.REQUEST).write_text(json.dumps({"dataset": str(tmp_path / "dataset.zip")}))
    monkeypatch.setenv("INDEXTTS_MODEL", str(tmp_path / "no model"))
    assert command.main(tmp_path) == 1
    assert (
        "the dataset is no ZIP or TAR file" in json.loads((tmp_path / command.OUTCOME).read_text())["error"]
    )


def test_what_is_wrong_is_told(server, tmp_path):
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as packed:
        packed.writestr("../evil.wav", "x")
    for inputs, message in (
        ({"dataset": data_uri(empty.getvalue())}, "leads out of it"),
        ({"dataset": "/etc/passwd"}, "dataset is not a file"),
        ({}, "give one of dataset and wav_urls"),
    ):
        answer = train(server, **inputs, **QUICK)
        assert answer["status"] == "failed" and message in answer["error"], answer
    refused = train(server, steps=0)
    assert refused["code"] == 422 and "less than the minimum" in str(refused["detail"])


def test_cancelled_it_is_free_again_and_keeps_what_it_has(server, archive):
    inputs = {"dataset": data_uri(archive.read_bytes()), **QUICK, "steps": 100_000}
    body = json.dumps({"input": inputs}).encode()
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    for _ in range(100):
        started = requests.put(f"{server.url}/trainings/one", data=body, headers=headers, timeout=30)
        if started.status_code != 409:
            break
        time.sleep(0.05)
    assert started.status_code == 202, started.text
    deadline = time.monotonic() + 120
    while not list(server.work.glob("*/clips.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.health() == "BUSY"
    requests.post(f"{server.url}/trainings/one/cancel", timeout=10)
    server.wait_until_ready()
    assert len(descendants(server.process.pid)) == 1, "the worker, and no training"
    assert list(server.work.glob("*/clips.jsonl")), "what is there stays, to go on"


def test_the_command_says_what_is_missing_before_it_starts(tmp_path):
    done = subprocess.run(
        [ROOT / "script/train", "-i", "steps=3", "-o", tmp_path / "out.zip"], capture_output=True, text=True
    )
    assert done.returncode == 1 and "give one of dataset and wav_urls" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out.zip").exists()
