"""Which kernels a GPT step is taken by on this GPU: those of `pipeline.gpt.fused_step` where they give PyTorch's
values and are quicker, else PyTorch's. Looked for once for a model's sizes, before its first decoder is made, and
logged.

Axes as in `pipeline.gpt.step`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.gpt.fused_step import FusedStep, blocks, kernels
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.step import Advance, StepBuffers, StepWeights, plain

logger = logging.getLogger(__name__)

HALVES = (torch.float16, torch.bfloat16)
PYTORCH = "PyTorch"
WAYS = {"Triton": True, "Triton, PyTorch's products": False}  # name -> `products` of FusedStep
SLOTS = (1, 3)  # that are tried
GROUPS = 2  # that are compared; one is timed
CAPACITY, PROMPT = 1088, 60  # rows; more parts than `triton_attention` joins at once
SEEN = 0.7  # of the rows by each slot
TOLERANCE = 10  # relative error in units of the type's own, as other orders of the sums explain
MIN_GAIN = 1.1  # times as fast as PyTorch's: far enough from 1 that chance does not decide
TIMED_STEPS, TIMED_RUNS = 20, 3


@dataclass(frozen=True)
class Choice:
    """What was found: name of a way -> the times of a step in ms with each of SLOTS beams, where it was timed;
    its worst relative error; why it cannot be."""

    name: str
    times: dict[str, list[float]]
    errors: dict[str, float]
    reasons: dict[str, str]

    def __str__(self) -> str:
        timed = (f"{name} {' and '.join(f'{t:.2f}' for t in ts)} ms" for name, ts in self.times.items())
        beams = f"a step with {' and '.join(map(str, SLOTS))} beams: {', '.join(timed)}"
        wrong = (f"not {name}: {reason}" for name, reason in self.reasons.items())
        return "; ".join([f"by {self.name}", beams, *wrong])


_found: dict[tuple[object, ...], Choice] = {}
Timing = Callable[[StepWeights, Advance], list[float]]


def choose(model: UnifiedVoice, weights: StepWeights) -> Advance:
    """The step of `weights`, which are those of `model`, by the kernels that are best here."""
    choice = choice_for(model, weights)
    if choice is None or choice.name == PYTORCH:
        return plain(weights)
    return FusedStep(model, weights, WAYS[choice.name])


def choice_for(model: UnifiedVoice, weights: StepWeights) -> Choice | None:
    """What was found of such a model on its device; None where there is nothing to choose."""
    device, dtype, config = weights.tokens.device, weights.tokens.dtype, weights.config
    if device.type != "cuda" or dtype not in HALVES or not torch.cuda.is_available() or kernels() is None:
        return None
    kind = type(blocks(model)[0].attn.c_attn)
    key = (device, dtype, kind, config.model_dim, config.layers, config.heads, config.alignment)
    if key not in _found:
        choice = _found[key] = look(model, weights)
        logger.log(logging.WARNING if choice.reasons else logging.INFO, "GPT step: %s", choice)
    return _found[key]


@torch.inference_mode()
def look(model: UnifiedVoice, weights: StepWeights, timed: Timing | None = None) -> Choice:
    """Compare and time every way; `timed`: `milliseconds`."""
    timed = timed or milliseconds
    times, errors, reasons = {PYTORCH: timed(weights, plain(weights))}, {}, {}
    limit = TOLERANCE * torch.finfo(weights.tokens.dtype).eps
    for name, products in WAYS.items():
        try:
            fused = FusedStep(model, weights, products)
            errors[name] = max(disagreement(weights, fused, slots) for slots in SLOTS)
            if errors[name] <= limit:
                times[name] = timed(weights, fused)
            else:
                reasons[name] = f"off by {errors[name]:.1e}, allowed: {limit:.0e}"
        except Exception as e:  # a kernel that does not compile raises many things, none of them documented
            reasons[name] = " ".join(str(e).split())[:200]
    best = min(times, key=lambda name: sum(times[name]))
    if sum(times[PYTORCH]) < MIN_GAIN * sum(times[best]):
        best = PYTORCH
    return Choice(best, times, errors, reasons)


def trial(weights: StepWeights, groups: int, slots: int) -> StepBuffers:
    """A step near the end of sequences whose past is random numbers, some of it masked."""
    config, device, dtype = weights.config, weights.tokens.device, weights.tokens.dtype
    buffers = StepBuffers.empty(config, groups, slots, CAPACITY, PROMPT, device, dtype)
    generator = torch.Generator(device).manual_seed(0)
    length = CAPACITY - 2 * slots
    buffers.rows.normal_(generator=generator)
    buffers.tokens.random_(0, config.number_mel_codes, generator=generator)
    buffers.positions.random_(0, len(weights.positions), generator=generator)
    own = length + torch.arange(slots, device=device)
    buffers.writes.copy_((torch.arange(groups, device=device)[:, None] * CAPACITY + own).flatten())
    seen = torch.rand(groups, 1, slots, length, generator=generator, device=device) < SEEN
    seen[..., 0] = True
    buffers.mask[..., :length].masked_fill_(seen, 0)
    buffers.mask.scatter_(3, own[None, None, :, None].expand(groups, -1, -1, -1), 0)
    if buffers.reading is not None:
        for group in range(groups):
            buffers.reading.begin(group, range(PROMPT // 4, PROMPT - 1))
    return buffers


@torch.inference_mode()
def disagreement(weights: StepWeights, advance: Advance, slots: int) -> float:
    """Largest relative error of `advance` against `step`: of hidden states, logits and each layer's new rows of the
    cache."""
    made = []
    for work in (plain(weights), advance):
        buffers = trial(weights, GROUPS, slots)
        work(buffers, CAPACITY)
        written = buffers.rows.flatten(1, 2)[:, buffers.writes]
        made.append((buffers.hidden, buffers.logits, *written))
    errors = [_relative(ours.float(), wanted.float()) for wanted, ours in zip(*made, strict=True)]
    return float(torch.stack(errors).nan_to_num(nan=torch.inf).max())


def _relative(ours: Tensor, wanted: Tensor) -> Tensor:
    return torch.linalg.norm(ours - wanted) / torch.linalg.norm(wanted).clamp(min=1e-9)


def milliseconds(weights: StepWeights, advance: Advance) -> list[float]:
    """Of a step of one sequence with each of SLOTS beams."""
    return [played(partial(advance, trial(weights, 1, slots), CAPACITY)) for slots in SLOTS]


def played(work: Callable[[], None]) -> float:
    """Milliseconds that `work` takes when it is played from a CUDA graph, the quickest of some runs."""
    work()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    found = []
    for _ in range(1 + TIMED_RUNS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(TIMED_STEPS):
            graph.replay()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / TIMED_STEPS)
    return min(found[1:])  # the first warms up
