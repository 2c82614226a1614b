"""`pipeline.gpt.step.step` on a GPU by kernels of ours, and the choice between it and PyTorch's.

A layer is eight kernels instead of about sixteen: product, attention (two), parted product, add and norm, product with
gelu, parted product, add and norm. `FusedStep` without `products` keeps PyTorch's products: for weights that are no plain
matrices. The alignment heads' mask comes from the same `ReadingPlaces.follow`.

Axes as in `pipeline.gpt.step`; P parts of a sum.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import GPTConfig
from pipeline.gpt.model import Block, Conv1D, UnifiedVoice
from pipeline.gpt.step import Advance, Norm, StepBuffers, StepWeights, gelu, norm_of, plain, step
from pipeline.packed import Rows, rows_of

logger = logging.getLogger(__name__)

Parts = tuple[Tensor, Tensor | None]  # [P, R, D] and a bias [D]: what is to be added
CHECK_SLOTS = (1, 3)
CHECK_CAPACITY, CHECK_REACH, CHECK_PROMPT = 512, 512, 60
CHECK_GROUPS = 2
TOLERANCE = 10  # relative error of a step in units of the type's own, as different orders of the sums explain
MIN_GAIN = 1.1  # times as fast as PyTorch's: far enough from 1 that chance does not decide
TIMED_STEPS, TIMED_RUNS = 20, 3
HALVES = (torch.float16, torch.bfloat16)


class NotFit(ValueError):
    """A model whose sizes the kernels do not take."""


@functools.cache
def kernels() -> tuple[ModuleType, ModuleType] | None:
    """The kernels of attention and of rows, or None where they cannot be had (logged)."""
    try:
        names = ("pipeline.gpt.triton_attention", "pipeline.gpt.triton_rows")
        attention, rows = (importlib.import_module(name) for name in names)
    except ImportError as e:
        logger.warning("GPT step: PyTorch's kernels; no others: %s", e)
        return None
    return attention, rows


@dataclass(frozen=True)
class FusedLayer:
    attention_norm: Norm
    project: Rows
    output: Callable[[Tensor], Parts]
    mlp_norm: Norm
    up: Rows  # and gelu
    down: Callable[[Tensor], Parts]

    @classmethod
    def of(cls, block: Block, rows: ModuleType, products: bool) -> FusedLayer:
        """`products`: by the kernels of `rows`. Raises NotFit where they do not take the weights."""
        attention, mlp = block.attn, block.mlp
        layers = (attention.c_attn, attention.c_proj, mlp.c_fc, mlp.c_proj)
        if products:
            check_weights(layers, rows)
            project, up = (partial(rows.product, weight=w.weight, bias=w.bias) for w in layers[::2])
            up = partial(up, gelu=True)
            output, down = (partial(_parted, rows, w) for w in layers[1::2])
        else:
            project, output, up, down = (rows_of(layer) for layer in layers)
            output, down, up = partial(_whole, output), partial(_whole, down), partial(_gelu_of, up)
        return cls(norm_of(block.ln_1), project, output, norm_of(block.ln_2), up, down)


def check_weights(layers: tuple[torch.nn.Module, ...], rows: ModuleType) -> None:
    for layer in layers:
        if not isinstance(layer, Conv1D):
            raise NotFit(f"weights are a {type(layer).__name__}")
        if any(size % rows.INPUTS for size in layer.weight.shape):
            raise NotFit(f"a weight is {tuple(layer.weight.shape)}; needed: multiples of {rows.INPUTS}")


def _parted(rows: ModuleType, layer: Conv1D, x: Tensor) -> Parts:
    return rows.parted_product(x, layer.weight), layer.bias


def _whole(layer: Rows, x: Tensor) -> Parts:
    return layer(x)[None], None


def _gelu_of(layer: Rows, x: Tensor) -> Tensor:
    return gelu(layer(x))


class FusedStep:
    """`step` of a model's weights: (buffers, reach). With `products` for at most `most_rows` rows; more take PyTorch's,
    where the weights' reading does not cost most."""

    def __init__(self, model: UnifiedVoice, weights: StepWeights, products: bool):
        """Raises NotFit."""
        found = kernels()
        if found is None:
            raise NotFit("there is no Triton")
        self.attention, self.rows = found
        config = model.config
        d = config.model_dim // config.heads
        if d < 16 or d & (d - 1):
            raise NotFit(f"a head is {d} wide; needed: a power of two, 16 at least")
        self.weights, self.most_rows = weights, self.rows.ROWS
        self.layers = [FusedLayer.of(block, self.rows, products) for block in model.gpt.h]

    def __call__(self, buffers: StepBuffers, reach: int) -> None:
        if len(buffers.tokens) > self.most_rows or buffers.mask.shape[2] > self.attention.SLOTS:
            step(self.weights, buffers, reach)
            return
        x = self.transform(buffers, reach)
        buffers.hidden.copy_(x)
        buffers.logits.copy_(self.weights.head(x))

    def transform(self, buffers: StepBuffers, reach: int) -> Tensor:
        """The step's codes through all layers and both final norms: [R, D]."""
        weights, norm = self.weights, self.rows.add_and_norm
        x = F.embedding(buffers.tokens, weights.tokens) + F.embedding(buffers.positions, weights.positions)
        after = [layer.attention_norm for layer in self.layers[1:]] + [weights.norms[0]]
        y = norm(x, None, None, self.layers[0].attention_norm)
        for index, layer in enumerate(self.layers):
            seen = self.attend(buffers, reach, index, layer.project(y))
            y = norm(x, *layer.output(seen), layer.mlp_norm)
            y = norm(x, *layer.down(layer.up(y)), after[index])
        return torch.layer_norm(y, *weights.norms[1])

    def attend(self, buffers: StepBuffers, reach: int, index: int, projected: Tensor) -> Tensor:
        """Attention [R, D] of one layer's queries, keys and values [R, 3 · D], which go into the cache."""
        config, cache, mask = self.weights.config, buffers.rows[index], buffers.mask[..., :reach]
        if buffers.reading is not None and index == buffers.reading.config.layer:
            groups, _, slots, _ = mask.shape
            queries = projected[:, : config.model_dim].view(groups, slots, config.heads, -1).transpose(1, 2)
            keys = cache[:, :reach, : config.model_dim].unflatten(-1, (config.heads, -1)).transpose(1, 2)
            # the step's own keys are not there yet: they are no text, which is all that is looked for
            mask = buffers.reading.follow(mask, queries, keys)
        return self.attention.attend(projected, cache, mask, buffers.writes, config.heads)


@dataclass(frozen=True)
class Choice:
    """Which of `WAYS` a step goes, and what was found."""

    products: bool | None  # of FusedStep; None: PyTorch's step
    told: str


chosen: dict[tuple[object, ...], Choice] = {}
WAYS = {"Triton": True, "Triton but for the products": False}


def choose(model: UnifiedVoice, weights: StepWeights) -> Advance:
    """The quickest step on this device that gives the values of PyTorch's: looked for once for a model's sizes, logged."""
    device, dtype, config = weights.tokens.device, weights.tokens.dtype, weights.config
    if device.type != "cuda" or dtype not in HALVES or not torch.cuda.is_available() or kernels() is None:
        return plain(weights)
    packed = type(model.gpt.h[0].attn.c_attn)
    key = (device, dtype, packed, config.model_dim, config.layers, config.heads, config.alignment)
    if key not in chosen:
        choice = chosen[key] = look(model, weights)
        logger.log(logging.WARNING if choice.products is None else logging.INFO, "GPT step: %s", choice.told)
    products = chosen[key].products
    return plain(weights) if products is None else FusedStep(model, weights, products)


@torch.inference_mode()
def look(model: UnifiedVoice, weights: StepWeights) -> Choice:
    """Check and time every way."""
    pytorch = plain(weights)
    times, reasons = {"PyTorch": milliseconds(weights, pytorch)}, []
    for name, products in WAYS.items():
        try:
            fused = FusedStep(model, weights, products)
            worst = max(disagreement(weights, fused, slots) for slots in CHECK_SLOTS)
            limit = TOLERANCE * torch.finfo(weights.tokens.dtype).eps
            if worst <= limit:
                times[name] = milliseconds(weights, fused)
            else:
                reasons.append(f"{name}: off by {worst:.1e}, allowed: {limit:.0e}")
        except Exception as e:  # a kernel that does not compile raises many things, none of them documented
            reasons.append(f"{name}: {' '.join(str(e).split())[:200]}")
    best = min(times, key=lambda name: sum(times[name]))
    if sum(times["PyTorch"]) < MIN_GAIN * sum(times[best]):
        best = "PyTorch"
    figures = (f"{name} {' and '.join(f'{t:.2f}' for t in ts)} ms" for name, ts in times.items())
    beams = " and ".join(map(str, CHECK_SLOTS))
    told = "; ".join([f"{best}'s kernels (with {beams} beams: {', '.join(figures)})", *reasons])
    return Choice(WAYS.get(best), told)


def check_buffers(weights: StepWeights, groups: int, slots: int) -> StepBuffers:
    """A step in the middle of sequences whose past is random numbers; some of it masked."""
    config: GPTConfig = weights.config
    device, dtype = weights.tokens.device, weights.tokens.dtype
    buffers = StepBuffers.empty(config, groups, slots, CHECK_CAPACITY, CHECK_PROMPT, device, dtype)
    generator = torch.Generator(device).manual_seed(0)
    rows, length = groups * slots, CHECK_CAPACITY // 2
    buffers.rows.normal_(generator=generator)
    buffers.tokens.random_(0, config.number_mel_codes, generator=generator)
    buffers.positions.random_(0, len(weights.positions), generator=generator)
    own = length + torch.arange(slots, device=device)
    buffers.writes.copy_((torch.arange(groups, device=device)[:, None] * CHECK_CAPACITY + own).view(rows))
    seen = torch.rand(groups, 1, slots, length, generator=generator, device=device) < 0.7
    seen[..., 0] = True
    buffers.mask[..., :length].masked_fill_(seen, 0)
    buffers.mask.scatter_(3, own[None, None, :, None].expand(groups, -1, -1, -1), 0)
    if buffers.reading is not None:
        for group in range(groups):
            buffers.reading.begin(group, range(10, CHECK_PROMPT - 5))
    return buffers


@torch.inference_mode()
def disagreement(weights: StepWeights, advance: Advance, slots: int) -> float:
    """Largest relative error of `advance` against `step`: of hidden states, logits and what is written."""
    made = []
    for work in (plain(weights), advance):
        buffers = check_buffers(weights, CHECK_GROUPS, slots)
        work(buffers, CHECK_REACH)
        places = buffers.tokens if buffers.reading is None else buffers.reading.places
        written = buffers.rows.flatten(1, 2)[:, buffers.writes]
        made.append((buffers.hidden, buffers.logits, *written, places))
    errors = [_relative(ours.float(), wanted.float()) for wanted, ours in zip(*made, strict=True)]
    return float(torch.stack(errors).max().nan_to_num(nan=torch.inf))


def _relative(ours: Tensor, wanted: Tensor) -> Tensor:
    return torch.linalg.norm(ours - wanted) / torch.linalg.norm(wanted).clamp(
        min=torch.finfo(torch.float32).tiny
    )


def milliseconds(weights: StepWeights, advance: Advance) -> list[float]:
    """Of a step of one sequence with each of CHECK_SLOTS beams, played from a CUDA graph, the quickest of some runs."""
    return [_played(partial(advance, check_buffers(weights, 1, slots), CHECK_REACH)) for slots in CHECK_SLOTS]


def _played(work: Callable[[], None]) -> float:
    work()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    found = []
    for _ in range(TIMED_RUNS + 1):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(TIMED_STEPS):
            graph.replay()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / TIMED_STEPS)
    return min(found[1:])  # the first warms up
