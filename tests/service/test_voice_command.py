"""`script/voice` as a user runs it, and its file as the speaker of a prediction."""

import json
import os
import subprocess

import pytest

from tests.conftest import ROOT


def run(script, *arguments, folder):
    return subprocess.run(
        [ROOT / "script" / script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"INDEXTTS_MODEL": "mini", "TMPDIR": str(folder)},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    made = run("voice", "create", ROOT / "examples/speaker.wav", "-o", "a.voice.safetensors", folder=folder)
    assert made.returncode == 0, made.stderr
    assert "a.voice.safetensors: 5." in made.stdout
    return folder


def test_show_tells_the_model_and_the_clip(folder):
    shown = run("voice", "show", "a.voice.safetensors", folder=folder)
    assert "model          mini" in shown.stdout and "denoise=false, trim=true, window=best" in shown.stdout


def test_a_voice_is_like_itself(folder):
    compared = run("voice", "compare", "a.voice.safetensors", ROOT / "examples/speaker.wav", folder=folder)
    assert compared.stdout.strip() == "1.0000"


def test_a_voice_file_speaks_with_the_same_bytes_as_its_audio(folder):
    waves = []
    for speaker in ("a.voice.safetensors", ROOT / "examples/speaker.wav"):
        done = run(
            "predict",
            "-i",
            "text=Hello there.",
            "-i",
            f"speaker=@{speaker}",
            "-i",
            "seed=3",
            "-i",
            "num_beams=1",
            "-i",
            "max_mel_tokens=50",
            "-i",
            "diffusion_steps=1",
            "-o",
            "out.wav",
            "--json",
            folder=folder,
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
def test_errors_are_one_line(folder, arguments, message):
    done = run("voice", *arguments, folder=folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert any(part in done.stderr for part in message.split("|")), done.stderr
