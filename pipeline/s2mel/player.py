"""The flow on a GPU: one Euler step as a function of static buffers, recorded once per length and played again.

Axes: B the halves of guidance (1 without), C mel channels, R reference frames, F target frames, T = R + F, N steps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.graphs import Graphs
from pipeline.s2mel.dit import DiT, Static
from pipeline.s2mel.flow import guided, halves, swayed

MAX_STEPS = 256
MAX_LENGTHS = 16  # whose buffers and graphs are kept


@dataclass(frozen=True)
class StepState:
    """What an Euler step reads and writes."""

    x: Tensor  # [1, C, T]
    static: Static
    reference: Tensor  # [T] bool: frames that stay 0
    times: Tensor  # [MAX_STEPS + 1]
    index: Tensor  # [1] int64: of the step that is next
    rate: Tensor  # [] of guidance


def euler(dit: DiT, state: StepState) -> None:
    """One step from times[index] to times[index + 1]."""
    batch = len(state.static.merged)
    now, then = state.times[state.index], state.times[state.index + 1]
    velocity = dit.velocity(state.x.expand(batch, -1, -1), now.expand(batch), state.static)
    if batch > 1:
        velocity = guided(velocity, state.rate)
    state.x.add_((then - now) * velocity)
    state.x.masked_fill_(state.reference, 0)
    state.index.add_(1)


class FlowPlayer:
    """Solves the flow as `pipeline.s2mel.flow.solve` does, from graphs where the device has them."""

    def __init__(self, dit: DiT, device: torch.device, graphs: bool = True):
        self.dit, self.device = dit, device
        self.graphs = Graphs(device, graphs)
        self.states: OrderedDict[tuple[int, int], StepState] = OrderedDict()
        self.lock = threading.Lock()  # the buffers are those of one caller at a time

    @torch.inference_mode()
    def solve(
        self,
        noise: Tensor,
        reference_mel: Tensor,
        condition: Tensor,
        style: Tensor,
        steps: int,
        cfg_rate: float,
        sway: float = 0.0,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> Tensor:
        """Mel [1, C, F] after the reference; arguments and errors as those of `pipeline.s2mel.flow.solve`, at most
        MAX_STEPS steps."""
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"diffusion_steps is {steps}; allowed: 1 to {MAX_STEPS}")
        with self.lock:
            reference = reference_mel.shape[-1]
            prompt = F.pad(reference_mel.to(noise), (0, noise.shape[-1] - reference))
            static = self.dit.prepare(*halves(prompt, condition, style, cfg_rate))
            state = self.state(noise, static)
            state.x.copy_(noise)
            state.reference[:reference], state.reference[reference:] = True, False
            state.x.masked_fill_(state.reference, 0)
            times = swayed(torch.linspace(0, 1, steps + 1), sway)
            state.times[: steps + 1].copy_(pinned(times, self.device), non_blocking=True)
            state.index.zero_()
            state.rate.fill_(cfg_rate)
            key = len(static.merged), noise.shape[-1]
            for step in range(steps):
                on_step(step)
                self.graphs.run(key, lambda: euler(self.dit, state))
            return state.x[..., reference:].clone()

    def state(self, noise: Tensor, static: Static) -> StepState:
        """The buffers for this length, with `static` in them."""
        key = len(static.merged), noise.shape[-1]
        found = self.states.get(key)
        if found is None:
            while len(self.states) >= MAX_LENGTHS:
                self.graphs.forget(self.states.popitem(last=False)[0])
            tensors: dict[str, Any] = {
                f.name: v.clone() for f in fields(Static) if isinstance(v := getattr(static, f.name), Tensor)
            }
            found = self.states[key] = StepState(
                torch.empty_like(noise),
                replace(static, **tensors),
                torch.zeros(noise.shape[-1], dtype=torch.bool, device=noise.device),
                torch.zeros(MAX_STEPS + 1, device=noise.device, dtype=noise.dtype),
                torch.zeros(1, dtype=torch.long, device=noise.device),
                torch.zeros((), device=noise.device, dtype=noise.dtype),
            )
            return found
        self.states.move_to_end(key)
        for field in fields(Static):
            value = getattr(static, field.name)
            if isinstance(value, Tensor):
                getattr(found.static, field.name).copy_(value)
        return found

    def clear(self) -> None:
        """Give buffers and graphs back."""
        with self.lock:
            self.states.clear()
            self.graphs.clear()


def pinned(values: Tensor, device: torch.device) -> Tensor:
    """`values` in memory from which a GPU copies while the host goes on."""
    return values.pin_memory() if device.type == "cuda" else values
