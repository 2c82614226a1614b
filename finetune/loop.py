"""The loop of fine-tuning: several passes a step, over one process or more, validated, averaged, resumable.

A step's passes are numbered; each draws its clips and noise from (seed, step, pass) alone, and a step's gradient is the
mean over its passes, whichever process computes them. So two processes go through the numbers of one, and a run that
was interrupted through those of one that was not. Of the averages that were validated, the base itself among them, the
one with the least held-out loss is given. Schedule, average and checkpoints are those of `training.loop`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed import all_reduce, barrier, get_rank, get_world_size, is_initialized
from torch.nn.parallel import DistributedDataParallel

from finetune.losses import Losses
from finetune.trainable import Trained
from training.loop import CHECKPOINT, Average, RunConfig, restore, save, trainable, write_metrics

logger = logging.getLogger(__name__)

VALIDATION = "validation.jsonl"
BEST = "best.pt"  # the average with the least held-out loss so far
VALIDATIONS = 8  # in a run
FINAL_RATE = 0.1  # of the learning rate
WARMUP_SHARE, MOST_WARMUP = 0.05, 100
EMA = 0.99
LOG_EVERY = 10
SAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Run:
    """How often and how much: passes of a step, and the rest as in `training.loop`."""

    config: RunConfig
    passes: int

    @classmethod
    def of(cls, seed: int, steps: int, rate: float, passes: int, processes: int, bf16: bool) -> Run:
        if passes % processes:
            passes += processes - passes % processes
            logger.info("%d passes a step, so that %d processes have the same number", passes, processes)
        return cls(
            RunConfig(
                seed=seed,
                steps=steps,
                learning_rate=rate,
                final_learning_rate=FINAL_RATE * rate,
                warmup_steps=max(1, min(MOST_WARMUP, round(WARMUP_SHARE * steps))),
                beta1=0.9,
                beta2=0.99,
                weight_decay=0.0,
                clip_norm=1.0,
                ema=EMA,
                bf16=bf16,
                log_every=LOG_EVERY,
                save_seconds=SAVE_SECONDS,
            ),
            passes,
        )


@dataclass(frozen=True)
class Outcome:
    """average: state of the averaged parameters that is given; steps: how many were made; stopped: why it ended early;
    given: the step of the average, the last where nothing was held out."""

    average: dict[str, Tensor]
    steps: int
    stopped: str | None
    given: int


class Passes(nn.Module):
    """What DistributedDataParallel wraps: the trained parameters, and the losses of a pass as `forward`."""

    def __init__(self, trained: Trained, losses: Losses):
        super().__init__()
        self.trained, self.losses = trained, losses

    def forward(self, seed: tuple[int, ...]) -> dict[str, Tensor]:
        return self.losses(np.random.default_rng(seed))


def train(
    trained: Trained,
    losses: Losses,
    run: Run,
    folder: Path,
    validate: Callable[[], float] | None = None,
    until: int | None = None,
) -> Outcome:
    """Train to the last step (or up to step `until`), going on from the checkpoint in `folder`. A loss that is not
    finite ends it at the last good checkpoint.

    Raises ValueError when that happens before there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    config, device = run.config, trained.model.device
    rank, world = (get_rank(), get_world_size()) if is_initialized() else (0, 1)
    optimizer = torch.optim.AdamW(
        trainable(trained), lr=config.learning_rate, betas=(config.beta1, config.beta2), weight_decay=0.0
    )
    average = Average(trained, config.ema)
    first = restore(folder, trained, optimizer, average)
    if rank == 0 and validate is not None and first == 0:
        note_validation(folder, 0, trained, average, validate)
    passes = Passes(trained, losses)
    wrapped = DistributedDataParallel(passes) if world > 1 else passes
    last = config.steps if until is None else min(until, config.steps)
    every = max(1, config.steps // VALIDATIONS)
    saved = logged = time.monotonic()
    sums: dict[str, float] = {}
    for step in range(first, last):
        for group in optimizer.param_groups:
            group["lr"] = config.rate_at(step)
        optimizer.zero_grad(set_to_none=True)
        means = one_step(wrapped, run, step, rank, world, device)
        if not all(map(math.isfinite, means.values())):
            return best(folder, stopped_early(folder, step, means["loss"], trained))
        norm = nn.utils.clip_grad_norm_(trained.parameters(), config.clip_norm)
        if not torch.isfinite(norm):
            return best(folder, stopped_early(folder, step, float(norm), trained))
        optimizer.step()
        average.update(trained, step)
        for name, value in {**means, "gradient": float(norm)}.items():
            sums[name] = sums.get(name, 0.0) + value
        done = step + 1
        if rank == 0 and (done % config.log_every == 0 or done == last):
            count = min(done - first, config.log_every, (done - 1) % config.log_every + 1)
            line = " ".join(f"{name}={total / count:.6f}" for name, total in sums.items())
            pace = (time.monotonic() - logged) / count
            write_metrics(
                folder,
                f"step={done} of={config.steps} {line} rate={config.rate_at(step):.2e} seconds={pace:.3f}",
            )
            sums, logged = {}, time.monotonic()
        if rank == 0 and validate is not None and (done % every == 0 or done == config.steps):
            note_validation(folder, done, trained, average, validate)
        if rank == 0 and (done == last or time.monotonic() - saved > config.save_seconds):
            save(folder, done, trained, optimizer, average)
            saved = time.monotonic()
    return best(folder, Outcome(average.state, max(first, last), None, max(first, last)))


def best(folder: Path, outcome: Outcome) -> Outcome:
    """The outcome with the best average that was validated, for all processes; itself where none was."""
    if is_initialized():
        barrier()  # the first has written it
    path = folder / BEST
    if not path.exists():
        return outcome
    state = torch.load(path, weights_only=True)
    return replace(outcome, average=state["average"], given=state["step"])


def one_step(
    wrapped: nn.Module, run: Run, step: int, rank: int, world: int, device: torch.device
) -> dict[str, float]:
    """Gradients of a step, and the means of its losses over all passes of all processes."""
    mine = range(rank, run.passes, world)
    sums: dict[str, Tensor] = {}
    for number in mine:
        last = number + world >= run.passes
        quiet = contextlib.nullcontext() if last or world == 1 else wrapped.no_sync()
        with quiet:
            with torch.autocast(device.type, torch.bfloat16, enabled=run.config.bf16):
                found = wrapped((run.config.seed, step, number))
            (found["loss"] / len(mine)).backward()
        for name, value in found.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach() / len(mine)
    if world > 1:
        for value in sums.values():
            all_reduce(value)
    return {name: float(value) / world for name, value in sums.items()}


def stopped_early(folder: Path, step: int, value: float, trained: Trained) -> Outcome:
    """The last good checkpoint's average."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise ValueError(
            f"the loss is {value} at step {step + 1}, before anything was learned; lower learning_rate"
        )
    state = torch.load(path, weights_only=True)
    trained.load_state_dict(state["module"])
    why = f"the loss became {value} at step {step + 1}; the last good step is {state['step']}"
    logger.warning("%s: %s", folder.name, why)
    return Outcome(state["average"], state["step"], why, state["step"])


def note_validation(
    folder: Path, step: int, trained: Trained, average: Average, validate: Callable[[], float]
) -> None:
    with trained.holding(average.state):
        value = validate()
    logger.info("%s: step %d, held out: %.4f", folder.name, step, value)
    with (folder / VALIDATION).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": step, "loss": round(value, 6)}) + "\n")
    path = folder / BEST
    if not path.exists() or value < torch.load(path, weights_only=True)["loss"]:
        partial = folder / (BEST + ".part")
        torch.save({"step": step, "loss": value, "average": average.state}, partial)
        os.replace(partial, path)
