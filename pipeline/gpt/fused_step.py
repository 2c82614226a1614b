"""`pipeline.gpt.step.step` on a GPU by kernels of ours; `pipeline.gpt.step_choice` says where it is used.

A layer is eight kernels instead of about sixteen: product, attention (two), parted product, add and norm,
product with gelu, parted product, add and norm. `FusedStep` without `products` keeps PyTorch's products: for
weights that are no plain matrices. The alignment heads' mask comes from the same `ReadingPlaces.follow`.

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

from pipeline.gpt.model import Block, Conv1D, UnifiedVoice
from pipeline.gpt.step import Norm, StepBuffers, StepWeights, gelu, norm_of, step
from pipeline.packed import Rows, rows_of

logger = logging.getLogger(__name__)

Parts = tuple[Tensor, Tensor | None]  # [P, R, D] and a bias [D]: what is to be added
HEAD_WIDTH = 16  # the least that a tensor core takes


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
        project: Rows
        up: Rows
        if products:
            check_weights(layers, rows)
            project, up = (
                partial(_product, rows, attention.c_attn),
                partial(_product, rows, mlp.c_fc, gelu=True),
            )
            output, down = (partial(_parted, rows, layer) for layer in (attention.c_proj, mlp.c_proj))
        else:
            project, up = rows_of(attention.c_attn), partial(_gelu_of, rows_of(mlp.c_fc))
            output, down = (partial(_whole, rows_of(layer)) for layer in (attention.c_proj, mlp.c_proj))
        return cls(norm_of(block.ln_1), project, output, norm_of(block.ln_2), up, down)


def blocks(model: UnifiedVoice) -> list[Block]:
    return [block for block in model.gpt.h if isinstance(block, Block)]


def check_weights(layers: tuple[torch.nn.Module, ...], rows: ModuleType) -> None:
    for layer in layers:
        if not isinstance(layer, Conv1D):
            raise NotFit(f"weights are a {type(layer).__name__}")
        if any(size % rows.INPUTS for size in layer.weight.shape):
            raise NotFit(f"a weight is {tuple(layer.weight.shape)}; needed: multiples of {rows.INPUTS}")


def _product(rows: ModuleType, layer: Conv1D, x: Tensor, gelu: bool = False) -> Tensor:
    return rows.product(x, layer.weight, layer.bias, gelu)


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
        if d < HEAD_WIDTH or d & (d - 1):
            raise NotFit(f"a head is {d} wide; needed: a power of two, {HEAD_WIDTH} at least")
        self.weights, self.most_rows = weights, self.rows.ROWS
        self.layers = [FusedLayer.of(block, self.rows, products) for block in blocks(model)]

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
