"""`script/voice` as a user runs it, and its file as the speaker of a prediction."""

import functools
import json
import os
import subprocess

import pytest

from service.service import Service
from tests import commands
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def command():
    """In this process, with one service for all its calls."""
    module = commands.load_command("voice")
    module.Service = functools.cache(Service)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a process of its own has made a voice file."""
    folder = tmp_path_factory.mktemp("voices")
    made = subprocess.run(
        [ROOT / "script/voice", "create", ROOT / "examples/speaker.wav", "-o", "a.voice.safetensors"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"INDEXTTS_MODEL": "mini", "TMPDIR": str(folder)},
    )
    assert made.returncode == 0, made.stderr
    assert "a.voice.safetensors: 5." in made.stdout
    return folder


def test_show_tells_the_model_and_the_clip(command, folder):
    shown = commands.run(command, ["show", "a.voice.safetensors"], folder)
    assert "model          mini" in shown.stdout and "denoise=false, trim=true, window=best" in shown.stdout


def test_a_voice_is_like_itself(command, folder):
    compared = commands.run(
        command,
        ["compare", "a.voice.safetensors", ROOT / "examples/speaker.wav"],
        folder,
        INDEXTTS_MODEL="mini",
    )
    assert compared.stdout.strip() == "1.0000"


def test_a_voice_file_speaks_with_the_same_bytes_as_its_audio(folder):
    waves = []
    for speaker in ("a.voice.safetensors", ROOT / "examples/speaker.wav"):
        inputs = {
            "text": "Hello there.",
            "speaker": f"@{speaker}",
            "seed": 3,
            "num_beams": 1,
            "max_mel_tokens": 50,
            "diffusion_steps": 1,
        }
        arguments = [word for name, value in inputs.items() for word in ("-i", f"{name}={value}")]
        done = commands.run(
            commands.load_command("predict"),
            [*arguments, "-o", "out.wav", "--json"],
            folder,
            INDEXTTS_MODEL="mini",
            TMPDIR=str(folder),
        )
        assert json.loads(done.stdout)["status"] == "succeeded", done.stderr
        waves.append((folder / "out.wav").read_bytes())
    assert waves[0] == waves[1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["show", "nowhere"], "nowhere is not a voice file"),
        (["create", "nowhere.wav"], "nowhere.wav|cannot be opened"),
        (["create", "a.voice.safetensors"], "is a voice file already"),
    ],
)
def test_errors_are_one_line(command, folder, arguments, message):
    done = commands.run(command, arguments, folder, INDEXTTS_MODEL="mini")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert any(part in done.stderr for part in message.split("|")), done.stderr
