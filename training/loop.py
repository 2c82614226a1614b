"""The one training loop: AdamW, warm-up and cosine, EMA, clipping, bf16 autocast, resumable to the same loss.

SIGTERM ends it after the step that is being made, with a checkpoint.

Every step draws its batch and its noise from (seed, step) alone, so a run that was interrupted and continued from
its checkpoint goes through the same numbers as one that was not.
"""

import contextlib
import dataclasses
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipeline.strict import build, read_yaml
from training.device import device_type

CHECKPOINT = "checkpoint.pt"
TERMINATED = 128 + signal.SIGTERM  # exit status of a run that was ended by it
METRICS = "metrics.txt"
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How a stage is trained; `configs/NAME.yaml` holds one. Times in seconds."""

    seed: int
    steps: int
    learning_rate: float
    final_learning_rate: float
    warmup_steps: int
    beta1: float
    beta2: float
    weight_decay: float
    clip_norm: float
    ema: float
    bf16: bool
    log_every: int
    save_seconds: float

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a half cosine to `final_learning_rate`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        share = min((step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1), 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * share))
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * fall


class Stage(Protocol):
    """What the loop needs of a trained part."""

    module: nn.Module  # every trained parameter is in it

    def losses(self, rng: np.random.Generator, step: int) -> Mapping[str, Tensor]:
        """Named scalars of one batch drawn with `rng`; the one called `loss` is minimized, the others are logged.

        Torch's global generator is seeded for the step (dropout, noise)."""
        ...


class Average:
    """Exponential moving average of a module's parameters and buffers; early steps count for less."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module after step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = module.state_dict()
        floats = [key for key, value in self.state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.state[key] for key in floats], [current[key] for key in floats], 1 - decay)
        for key in self.state.keys() - set(floats):
            self.state[key].copy_(current[key])


def read_run(path: Path) -> RunConfig:
    """The `run` section of a training configuration file."""
    return build(RunConfig, read_yaml(path)["run"], path.name)


def trainable(module: nn.Module) -> list[dict]:
    """Parameter groups: weight decay for matrices only."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def asked_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the context lasts; other threads than the main one cannot be asked."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, former)


def attention() -> contextlib.AbstractContextManager:
    """How attention is computed: on a CPU the plain way, which at these lengths takes two thirds of the time of the fused
    one in bf16, most of it backward."""
    return sdpa_kernel(SDPBackend.MATH) if device_type() == "cpu" else contextlib.nullcontext()


def train(stage: Stage, run: RunConfig, folder: Path, until: int | None = None) -> dict[str, Tensor]:
    """Train `stage.module` for `run.steps` steps (or up to step `until`), going on from the checkpoint in `folder`.

    Returns the averaged state dict. RuntimeError when the loss is not finite; SystemExit once it was asked to end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module = stage.module
    optimizer = torch.optim.AdamW(
        trainable(module), lr=run.learning_rate, betas=(run.beta1, run.beta2), weight_decay=run.weight_decay
    )
    average = Average(module, run.ema)
    first = restore(folder, module, optimizer, average)
    last = run.steps if until is None else min(until, run.steps)
    module.train()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    saved = logged = time.monotonic()
    sums: dict[str, Tensor | float] = {}
    with asked_to_end() as asked:
        for step in range(first, last):
            torch.manual_seed(run.seed * 1_000_003 + step)
            for group in optimizer.param_groups:
                group["lr"] = run.rate_at(step)
            with torch.autocast(device_type(), torch.bfloat16, enabled=run.bf16), attention():
                losses = stage.losses(np.random.default_rng((run.seed, step)), step)
            loss = losses["loss"]
            told = (step + 1) % run.log_every == 0 or step + 1 == last
            if told or loss.device.type == "cpu":  # elsewhere the host would wait for it
                _check(loss, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(module.parameters(), run.clip_norm)
            optimizer.step()
            average.update(module, step)
            for name, value in {**losses, "gradient": norm}.items():
                sums[name] = sums.get(name, 0.0) + value.detach()  # a number only when it is told: no wait
            if told:
                steps = step % run.log_every + 1 if step + 1 - first >= run.log_every else step + 1 - first
                line = " ".join(f"{name}={total / steps:.4f}" for name, total in sums.items())
                pace = (time.monotonic() - logged) / steps
                write_metrics(
                    folder, f"step={step + 1} {line} rate={run.rate_at(step):.2e} seconds={pace:.3f}"
                )
                sums, logged = {}, time.monotonic()
            ending = asked.is_set()
            if step + 1 == last or ending or time.monotonic() - saved > run.save_seconds:
                _check(loss, step)
                save(folder, step + 1, module, optimizer, average)
                saved = time.monotonic()
            if ending:
                logger.info("%s: ended at step %d, as asked", folder.name, step + 1)
                raise SystemExit(TERMINATED)
    module.eval()
    return average.state


def _check(loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise RuntimeError(f"the loss at step {step} is {loss.item()}")


def write_metrics(folder: Path, line: str) -> None:
    """Append a line of `name=value` pairs to the metrics log."""
    logger.info("%s: %s", folder.name, line)
    with (folder / METRICS).open("a", encoding="utf-8") as log:
        log.write(line + "\n")


def save(
    folder: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average
) -> None:
    """Write the checkpoint; the old one is replaced only by a whole new one."""
    unfinished = folder / (CHECKPOINT + ".part")
    torch.save(
        {
            "step": step,
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.state,
        },
        unfinished,
    )
    os.replace(unfinished, folder / CHECKPOINT)


def restore(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> int:
    """Load the checkpoint if there is one; returns the step to go on with."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    state = torch.load(path, map_location=torch.get_default_device(), weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    average.state = state["average"]
    logger.info("%s: going on from step %d", folder.name, state["step"])
    return state["step"]


def averaged(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run's checkpoint; ValueError if there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise ValueError(f"{folder} has no checkpoint; train that stage first")
    return torch.load(path, map_location=torch.get_default_device(), weights_only=True)["average"]


def finished(folder: Path, run: RunConfig) -> bool:
    """Whether a run's checkpoint is at its last step."""
    path = folder / CHECKPOINT
    return path.exists() and torch.load(path, weights_only=True, mmap=True)["step"] >= run.steps
