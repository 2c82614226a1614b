"""`script/predict`: the grammar of `cog predict`, run as a user runs it."""

import json
import os
import subprocess

import pytest
import soundfile

from tests import commands
from tests.conftest import ROOT

QUICK = ["-i", "max_mel_tokens=50", "-i", "diffusion_steps=1", "-i", "num_beams=1", "-i", "seed=0"]
SPEAKER = f"speaker=@{ROOT / 'examples/speaker.wav'}"


def as_process(arguments, folder, **environment):
    return subprocess.run(
        [ROOT / "script/predict", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )


def in_process(arguments, folder, **environment):
    return commands.run(commands.load_command("predict"), arguments, folder, **environment)


@pytest.mark.parametrize(
    "predict, environment, model",
    [(as_process, {}, "tiny-en"), (in_process, {"INDEXTTS_MODEL": "mini"}, "mini")],
    ids=["process", "call"],
)
def test_a_prediction_is_written_and_told(tmp_path, predict, environment, model):
    (tmp_path / "text.txt").write_text("Hello there.")
    arguments = ["-i", "text=@text.txt", "-i", SPEAKER, *QUICK, "-o", "out.wav", "--json"]
    done = predict(arguments, tmp_path, TMPDIR=str(tmp_path), **environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["metrics"]["model"] == model
    assert predict is in_process or f"model {model}: " in done.stderr
    assert told["status"] == "succeeded" and told["metrics"]["seed"] == 0
    assert soundfile.info(tmp_path / "out.wav").samplerate == 22050
    if predict is as_process:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out.wav", "text.txt"], (
            "nothing else is left"
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-i", "text=hi"], "missing input: speaker"),
        (["-i", "text=hi", "-i", "speaker=@nowhere.wav"], "speaker: no such file: nowhere.wav"),
        (["-i", "text=hi", "-i", "speaker=nowhere.wav"], "speaker takes a file: -i speaker=@FILE"),
        (["-i", "nothing"], "expected NAME=VALUE with a NAME of text, speaker"),
        (["-i", "text=hi", "-i", SPEAKER, "-i", "seed=many"], "seed is 'many', not a whole number"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(tmp_path, arguments, message):
    done = in_process(arguments, tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
