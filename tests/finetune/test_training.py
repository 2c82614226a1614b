"""The loop: two processes are one, interrupted is uninterrupted, a loss that is no number ends it at the last good
checkpoint, and a training that is ended goes on. A whole one is in test_trainer.py."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from finetune.clips import Preparation, prepare_clips
from finetune.dataset import Recording
from finetune.export import validation_losses
from finetune.features import extract
from finetune.launch import TrainingError, train
from finetune.loop import Run
from finetune.loop import train as train_loop
from finetune.losses import FlowLosses, GPTLosses
from finetune.options import Options
from finetune.trainable import Trained
from pipeline.adapter import LowRank
from tests.conftest import ROOT
from training.loop import CHECKPOINT, METRICS
from training.plots import read_metrics
from training.s2mel import Path

STEPS = 3
TEXT = "A gentle wind moved it."


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the clips and what was computed of them are, once there are `examples`."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def examples(service, pieces, work):
    recordings = [Recording(path, path.name, TEXT) for path in pieces]
    clips, _ = prepare_clips(recordings, work, Preparation(22050, None, True))
    found, refusals = extract(service, clips, work, "auto")
    assert not refusals and all(example.ids is not None for example in found)
    return found


def run_of(steps=STEPS, passes=2, rate=1e-3) -> Run:
    return Run.of(0, steps, rate, passes, 1, False)


def make(service, examples, part="dit", method="lora"):
    trained = Trained(service.model, method, [part], 0)
    kind = FlowLosses if part == "dit" else GPTLosses
    return trained, kind(trained.model, examples, 2.5)


def test_a_flow_that_learned_guidance_is_tuned_towards_guided_speech(service, examples):
    """Where guidance was distilled into the flow, what it learns of a clip is guided; without a condition, the clip."""
    model = service.model
    losses = {}
    for rate in (0.0, 1.0):
        s2mel = dataclasses.replace(model.config.s2mel, learned_guidance=rate)
        tuned = dataclasses.replace(model, config=dataclasses.replace(model.config, s2mel=s2mel))
        losses[rate] = FlowLosses(tuned, examples, 2.5)
    torch.manual_seed(0)
    shape = (2, model.config.audio.n_mels, 30)
    noisy, velocity, prompt = (torch.randn(shape) for _ in range(3))
    condition = torch.randn(2, 30, model.config.s2mel.dit.content_dim)
    path = Path(
        noisy,
        torch.rand(2),
        prompt,
        condition,
        torch.randn(2, model.config.s2mel.dit.style_dim),
        velocity,
        10,
    )
    given = torch.tensor([1.0, 0.0])[:, None, None]
    assert torch.equal(losses[0.0].wanted(path, given), velocity)
    with torch.no_grad():
        null = model.dit(
            noisy, path.t, torch.zeros_like(prompt), torch.zeros_like(condition), torch.zeros_like(path.style)
        )
    wanted = losses[1.0].wanted(path, given)
    torch.testing.assert_close(wanted[0], 2 * velocity[0] - null[0])
    assert torch.equal(wanted[1], velocity[1]) and not wanted.requires_grad
    same = [losses[rate](np.random.default_rng(3))["loss"].item() for rate in (0.0, 1.0)]
    assert same[0] != same[1]


@pytest.mark.parametrize("part", ["dit", "gpt"])
def test_interrupted_and_going_on_is_uninterrupted(service, examples, tmp_path, part):
    whole = train_loop(*make(service, examples, part), run_of(), tmp_path / "whole")
    train_loop(*make(service, examples, part), run_of(), tmp_path / "parts", until=1)
    parts = train_loop(*make(service, examples, part), run_of(), tmp_path / "parts")
    assert whole.steps == parts.steps == STEPS
    for key, value in whole.average.items():
        assert torch.equal(value, parts.average[key]), key


def test_the_base_is_not_touched_and_only_the_adapter_learns(service, examples, tmp_path):
    before = {key: value.clone() for key, value in service.model.dit.state_dict().items()}
    trained, losses = make(service, examples)
    first = trained.tensors()
    train_loop(trained, losses, run_of(), tmp_path)
    after = trained.tensors()
    assert all(torch.equal(value, before[key]) for key, value in service.model.dit.state_dict().items())
    moved = [not torch.equal(first[key], after[key]) for key in first]
    assert all(moved)
    assert isinstance(trained.model.dit.transformer.layers[0].attention.wo, LowRank)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_learns(service, examples, tmp_path, method):
    """The same pass again and again: its loss falls."""
    trained, losses = make(service, examples, method=method)

    def again(rng):
        return losses(np.random.default_rng(0))

    train_loop(trained, again, run_of(12, 1, 3e-3 if method == "lora" else 3e-4), tmp_path)
    with torch.no_grad():
        after = float(losses(np.random.default_rng(0))["loss"])
        before = float(make(service, examples)[1](np.random.default_rng(0))["loss"])
    assert after < 0.97 * before, (before, after)


def test_a_loss_that_is_no_number_ends_at_the_last_good_checkpoint(service, examples, tmp_path, monkeypatch):
    monkeypatch.setattr("finetune.loop.SAVE_SECONDS", 0.0)
    trained, losses = make(service, examples)
    passes = 0

    def spoiled(rng):
        nonlocal passes
        passes += 1
        found = losses(rng)
        return found if passes < 4 else {"loss": found["loss"] * float("nan")}

    run = run_of(4, passes=1)
    outcome = train_loop(trained, spoiled, run, tmp_path / "a")
    assert outcome.steps == 3 and "nan at step 4; the last good step is 3" in outcome.stopped
    assert all(torch.isfinite(value).all() for value in outcome.average.values())
    with pytest.raises(ValueError, match="before anything was learned; lower learning_rate"):
        train_loop(*make(service, examples)[:1], spoiled, run, tmp_path / "b")


def test_what_is_given_is_the_best_of_what_was_held_out_also_of_a_run_that_went_on(
    service, examples, tmp_path
):
    """The base is among what is compared: a training that only makes it worse gives the base back."""

    def run(name, values, until=None, steps=4):
        told, plan = iter(values), run_of(steps, passes=1)
        return train_loop(*make(service, examples), plan, tmp_path / name, lambda: next(told), until)

    whole = run("whole", [3.0, 2.0, 1.0, 4.0, 5.0])
    assert whole.given == 2 and whole.steps == 4
    short = run("short", [3.0, 2.0, 1.0], until=2)
    run("parts", [3.0, 2.0], until=1)
    parts = run("parts", [1.0, 4.0, 5.0])
    assert parts.given == 2
    for key, value in whole.average.items():
        assert torch.equal(parts.average[key], value) and torch.equal(short.average[key], value)
    worse = run("worse", [1.0, 2.0, 3.0], steps=2)
    fresh = make(service, examples)[0].state_dict()
    assert worse.given == 0 and all(torch.equal(worse.average[key], fresh[key]) for key in fresh)


TWO = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from finetune.clips import read_outcomes, Clip
from finetune.distributed import Processes
from finetune.features import extract
from finetune.losses import FlowLosses
from finetune.loop import Run
from finetune.trainable import Trained
from service.service import Service
from service.imports import NEEDED
from service.settings import Settings
torch.set_num_threads(1)
processes = Processes.join()
service = Service(Settings.read(model="tiny-en", precision="exact", features=()), NEEDED, packed=False)
work = Path(sys.argv[2])
clips = [Clip(**clip) for outcome in read_outcomes(work / "clips.jsonl").values() for clip in outcome["clips"]]
with processes.first_alone():
    examples, _ = extract(service, clips, work, "auto")
trained = Trained(service.model, "lora", ["dit"], 0)
run = Run.of(0, 3, 1e-3, 2, processes.count, False)
processes.train(trained, FlowLosses(trained.model, examples, 2.5), run, Path(sys.argv[3]), None)
"""


def test_two_processes_are_one(service, examples, work, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, str(script), str(ROOT), str(work), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    trained, losses = make(service, examples)
    train_loop(trained, losses, run_of(3, 2), tmp_path / "one")
    one, two = (torch.load(tmp_path / name / CHECKPOINT, weights_only=True) for name in ("one", "two"))
    for key, value in one["module"].items():
        assert torch.allclose(value, two["module"][key], rtol=1e-3, atol=1e-6), key
    ours, theirs = (read_metrics(tmp_path / name / METRICS)["loss"] for name in ("one", "two"))
    assert [loss for _, loss in ours] == pytest.approx([loss for _, loss in theirs], rel=1e-5)


def test_ended_in_the_middle_it_stops_and_goes_on(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("INDEXTTS_TRAINING_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("INDEXTTS_MODEL", "tiny-en")
    options = Options(dataset=archive, steps=100_000, batch_seconds=2.5, train_gpt=False)
    started: list[str] = []

    class Cancelled(BaseException):
        """As Cog's: no Exception."""

    def until_training(line: str) -> None:
        started.append(line)
        if "step=10 " in line:
            with pytest.raises(TrainingError, match="is under way already"):
                train(options, tmp_path / "second.zip")
            raise Cancelled

    with pytest.raises(Cancelled):
        train(options, tmp_path / "out.zip", say=until_training)
    (work,) = (tmp_path / "work").iterdir()
    assert not any(str(work).encode() in command for command in commands()), (
        "its processes are gone when the exception is out"
    )
    assert (work / "features").is_dir() and not (tmp_path / "out.zip").exists()
    again: list[str] = []

    def until_features(line: str) -> None:
        again.append(line)
        if "features of" in line:
            raise Cancelled

    kept = {path: path.stat().st_mtime_ns for path in (work / "features").iterdir()}
    with pytest.raises(Cancelled):
        train(options, tmp_path / "out.zip", say=until_features)
    assert not any("recordings prepared" in line for line in again)
    assert {path: path.stat().st_mtime_ns for path in (work / "features").iterdir()} == kept


def commands() -> list[bytes]:
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    found.append(file.read())
            except OSError:
                continue
    return found


@pytest.mark.parametrize(
    "change, message",
    [
        ({}, "give one of dataset and wav_urls; neither"),
        ({"steps": 3, "epochs": 2.0, "wav_urls": "http://x/a"}, "steps 3 and epochs 2 are given"),
        ({"wav_urls": "http://x/a", "train_gpt": False, "train_s2mel": False}, "at least one must be true"),
        ({"wav_urls": "http://x/a", "method": "magic"}, "allowed: lora, full"),
        ({"wav_urls": "http://x/a", "steps": 0}, "allowed: a whole number from 1"),
        ({"wav_urls": "http://x/a", "learning_rate": float("nan")}, "is not a number"),
    ],
)
def test_options_that_are_none(change, message):
    with pytest.raises(ValueError, match=message):
        Options(**change).checked()


def test_validation_of_a_run_that_went_on_counts_the_later(tmp_path):
    lines = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.5}, {"step": 2, "loss": 2.0}]
    (tmp_path / "validation.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [entry["loss"] for entry in validation_losses(tmp_path)] == [3.0, 2.0]
