"""The loop: resuming gives the same numbers as not stopping, schedules, averages, failures."""

import dataclasses
import signal

import numpy as np
import pytest
import torch
from torch import nn

from training import loop

RUN = loop.RunConfig(
    seed=3,
    steps=12,
    learning_rate=1e-2,
    final_learning_rate=1e-3,
    warmup_steps=4,
    beta1=0.9,
    beta2=0.99,
    weight_decay=0.01,
    clip_norm=1.0,
    ema=0.9,
    bf16=False,
    log_every=4,
    save_seconds=1e9,
)


class Line:
    """Fits a line through noisy points, with dropout, so that both generators matter."""

    def __init__(self):
        torch.manual_seed(0)
        self.module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.seen = []

    def losses(self, rng: np.random.Generator, step: int):
        x = torch.from_numpy(rng.standard_normal((16, 3))).float()
        loss = (self.module(x)[:, 0] - x.sum(1)).square().mean()
        self.seen.append(float(loss.detach()))
        return {"loss": loss, "double": 2 * loss}


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = Line()
    expected = loop.train(whole, RUN, tmp_path / "whole")
    first, second = Line(), Line()
    loop.train(first, RUN, tmp_path / "parts", until=5)
    resumed = loop.train(second, RUN, tmp_path / "parts")
    assert first.seen + second.seen == whole.seen
    for key, value in expected.items():
        assert torch.equal(value, resumed[key]), key
    for key, value in whole.module.state_dict().items():
        assert torch.equal(value, second.module.state_dict()[key]), key


def test_a_run_that_is_asked_to_end_saves_and_ends(tmp_path):
    class Asked(Line):
        def losses(self, rng, step):
            if step == 5:
                signal.raise_signal(signal.SIGTERM)
            return super().losses(rng, step)

    whole, asked, rest = Line(), Asked(), Line()
    loop.train(whole, RUN, tmp_path / "whole")
    with pytest.raises(SystemExit, match=str(loop.TERMINATED)):
        loop.train(asked, RUN, tmp_path / "parts")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    loop.train(rest, RUN, tmp_path / "parts")
    assert asked.seen + rest.seen == whole.seen


def test_an_interruption_loses_the_steps_since_the_checkpoint_only(tmp_path):
    class Stopped(Line):
        def losses(self, rng, step):
            if step == 9:
                raise KeyboardInterrupt
            return super().losses(rng, step)

    run = dataclasses.replace(RUN, save_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        loop.train(Stopped(), run, tmp_path)
    rest = Line()
    loop.train(rest, run, tmp_path)
    assert len(rest.seen) == RUN.steps - 9
    assert loop.finished(tmp_path, run)


def test_a_finished_run_is_passed_over(tmp_path):
    loop.train(Line(), RUN, tmp_path)
    again = Line()
    loop.train(again, RUN, tmp_path)
    assert again.seen == []


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(Line):
        def losses(self, rng, step):
            return {"loss": super().losses(rng, step)["loss"] * float("nan")}

    with pytest.raises(RuntimeError, match="the loss at step 0 is nan"):
        loop.train(Broken(), RUN, tmp_path)
    assert not (tmp_path / loop.CHECKPOINT).exists()


def test_rate_warms_up_and_falls_to_its_end():
    rates = [RUN.rate_at(step) for step in range(RUN.steps + 1)]
    assert rates[:4] == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2])
    assert rates[4] == pytest.approx(1e-2) and rates[-1] == pytest.approx(1e-3)
    assert all(a >= b for a, b in zip(rates[4:], rates[5:], strict=False))


def test_metrics_are_means_over_the_steps_between_lines(tmp_path):
    stage = Line()
    loop.train(stage, RUN, tmp_path)
    lines = [
        dict(pair.split("=") for pair in line.split())
        for line in (tmp_path / loop.METRICS).read_text().splitlines()
    ]
    assert [int(line["step"]) for line in lines] == [4, 8, 12]
    assert float(lines[0]["loss"]) == pytest.approx(np.mean(stage.seen[:4]), abs=1e-3)
    assert float(lines[2]["double"]) == pytest.approx(2 * np.mean(stage.seen[8:]), abs=1e-3)


def test_no_checkpoint_to_average(tmp_path):
    with pytest.raises(ValueError, match="train that stage first"):
        loop.averaged(tmp_path)
