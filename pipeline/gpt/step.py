"""One decode step as a function of raw tensors: `step(weights, buffers, reach)`.

What `UnifiedVoice.latents` and `mel_head` do to one new code per slot, without a Python object per layer, for several
sequences at once. All it reads and writes is in `StepBuffers`, whose tensors keep their addresses, and nothing in it
depends on their values; so a step can be recorded once (a CUDA graph per `reach`) and played again.

Axes: G groups (sequences), S slots (beams of one), R = G · S rows, H heads, D width, d head width, V mel vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import GPTConfig
from pipeline.gpt.model import Block, KVCache, UnifiedVoice
from pipeline.gpt.monotonic import ReadingPlaces
from pipeline.packed import Rows, rows_of

SERIAL_VALUES = 32767  # PyTorch takes an elementwise operation on more to several threads
Norm = tuple[tuple[int, ...], Tensor, Tensor, float]  # what follows the input of torch.layer_norm


def norm_of(module: nn.LayerNorm) -> Norm:
    return module.normalized_shape, module.weight, module.bias, module.eps


@dataclass(frozen=True)
class LayerWeights:
    attention_norm: Norm
    project: Rows  # D -> queries, keys, values
    output: Rows
    mlp_norm: Norm
    up: Rows
    down: Rows

    @classmethod
    def of(cls, block: Block) -> LayerWeights:
        attention, mlp = block.attn, block.mlp
        return cls(
            norm_of(block.ln_1),
            rows_of(attention.c_attn),
            rows_of(attention.c_proj),
            norm_of(block.ln_2),
            rows_of(mlp.c_fc),
            rows_of(mlp.c_proj),
        )


@dataclass(frozen=True)
class StepWeights:
    config: GPTConfig
    tokens: Tensor  # [V, D]
    positions: Tensor
    layers: tuple[LayerWeights, ...]
    norms: tuple[Norm, Norm]
    head: Rows

    @classmethod
    def of(cls, model: UnifiedVoice) -> StepWeights:
        """The weights of `model`, packed or not, as they are now."""
        return cls(
            model.config,
            model.mel_embedding.weight,
            model.mel_pos_embedding.emb.weight,
            tuple(LayerWeights.of(block) for block in model.gpt.h),
            (norm_of(model.gpt.ln_f), norm_of(model.final_norm)),
            rows_of(model.mel_head),
        )


@dataclass
class StepBuffers:
    """The inputs of a step, the cache, and its outputs. A group's cache rows are those of `KVCache`."""

    tokens: Tensor  # [R] the codes to feed
    positions: Tensor  # [R] their mel positions
    writes: Tensor  # [R] where their keys and values go, counted over all groups: group · capacity + row
    mask: Tensor  # [G, 1, S, capacity] additive: 0 where a slot sees a row of its group, −inf elsewhere
    rows: Tensor  # [layers, G, capacity, 2 · D] keys, then values
    hidden: Tensor  # [R, D] out: after both final norms
    logits: Tensor  # [R, V] out
    reading: ReadingPlaces | None

    @classmethod
    def empty(
        cls,
        config: GPTConfig,
        groups: int,
        slots: int,
        capacity: int,
        prompt: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> StepBuffers:
        """`capacity` rows per group, of which the first `prompt` at most hold a prompt and the start token."""
        rows, width = groups * slots, config.model_dim
        reading = (
            None
            if config.alignment is None
            else ReadingPlaces(config.alignment, config.heads, groups, slots, prompt, device)
        )
        return cls(
            *(torch.zeros(rows, dtype=torch.long, device=device) for _ in range(3)),
            mask=torch.full((groups, 1, slots, capacity), -torch.inf, device=device, dtype=dtype),
            rows=torch.empty(config.layers, groups, capacity, 2 * width, device=device, dtype=dtype),
            hidden=torch.empty(rows, width, device=device, dtype=dtype),
            logits=torch.empty(rows, config.number_mel_codes, device=device, dtype=dtype),
            reading=reading,
        )

    def first(self, groups: int) -> StepBuffers:
        """Views of the first groups."""
        rows = groups * self.mask.shape[2]
        return StepBuffers(
            *(tensor[:rows] for tensor in (self.tokens, self.positions, self.writes)),
            mask=self.mask[:groups],
            rows=self.rows[:, :groups],
            hidden=self.hidden[:rows],
            logits=self.logits[:rows],
            reading=None if self.reading is None else self.reading.first(groups),
        )

    def cache(self, group: int) -> KVCache:
        """The cache of one group, for its prompt."""
        return KVCache(self.rows[:, group])


class Attend:
    """The attention of one step over what `buffers` hold: (layer, projected [R, 3 · D]) -> [R, D]."""

    def __init__(self, config: GPTConfig, buffers: StepBuffers, reach: int):
        groups, slots = buffers.mask.shape[0], buffers.mask.shape[2]
        heads, self.width = config.heads, config.model_dim
        self.shape = (groups, slots, heads, self.width // heads)
        self.mask = buffers.mask[..., :reach]
        self.writes, self.reading = buffers.writes, buffers.reading
        self.aligned = -1 if self.reading is None else self.reading.config.layer
        rows = buffers.rows.flatten(1, 2)  # [layers, G · capacity, 2 · D]
        seen = buffers.rows[:, :, :reach].unflatten(-1, (2, heads, -1)).permute(3, 0, 1, 4, 2, 5)
        all_keys, all_values = seen.unbind()  # each [layers, G, H, reach, d]
        self.layers = list(zip(rows.unbind(), all_keys.unbind(), all_values.unbind(), strict=True))

    def __call__(self, index: int, projected: Tensor) -> Tensor:
        rows, keys, values = self.layers[index]
        rows.index_copy_(0, self.writes, projected[:, self.width :])
        queries = projected[:, : self.width].view(self.shape).transpose(1, 2)
        visible = self.mask
        if index == self.aligned:
            visible = self.reading.follow(visible, queries, keys)
        h = F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        return h.transpose(1, 2).reshape(-1, self.width)


def transform(
    weights: StepWeights, tokens: Tensor, positions: Tensor, attend: Callable[[int, Tensor], Tensor]
) -> Tensor:
    """Codes [R] at mel positions [R] through all layers and both final norms: [R, D]."""
    x = F.embedding(tokens, weights.tokens) + F.embedding(positions, weights.positions)
    for index, layer in enumerate(weights.layers):
        x = x + layer.output(attend(index, layer.project(torch.layer_norm(x, *layer.attention_norm))))
        x = x + layer.down(gelu(layer.up(torch.layer_norm(x, *layer.mlp_norm))))
    for norm in weights.norms:
        x = torch.layer_norm(x, *norm)
    return x


def gelu(x: Tensor) -> Tensor:
    """[R, N] -> [R, N]. On a CPU in blocks that one thread takes: where threads part a row, its last values would be
    computed otherwise than in its middle, and depend on the number of rows."""
    block = max(1, SERIAL_VALUES // x.shape[1])
    if x.device.type != "cpu" or len(x) <= block:
        return F.gelu(x, approximate="tanh")
    return torch.cat([F.gelu(rows, approximate="tanh") for rows in x.split(block)])


def step(weights: StepWeights, buffers: StepBuffers, reach: int) -> None:
    """Feed `buffers.tokens`; `hidden` and `logits` are then those that choose the next. `reach`: rows of each group's
    cache that are read, at least as many as any slot sees."""
    x = transform(weights, buffers.tokens, buffers.positions, Attend(weights.config, buffers, reach))
    buffers.hidden.copy_(x)
    buffers.logits.copy_(weights.head(x))


Advance = Callable[[StepBuffers, int], None]  # `step` of some weights: (buffers, reach)


def plain(weights: StepWeights) -> Advance:
    """`step` of `weights` by PyTorch's kernels."""
    return partial(step, weights)


def step_together(weights: StepWeights, parts: Sequence[StepBuffers], reaches: Sequence[int]) -> None:
    """`step` for each of `parts`, whose rows share the products with the weights. Attention is taken for each part by
    itself over its own reach: what a row becomes does not depend on the other parts, where the weights' kernels
    treat each row alike (`packed`)."""
    attends = [Attend(weights.config, part, reach) for part, reach in zip(parts, reaches, strict=True)]
    counts = [len(part.tokens) for part in parts]

    def attend(index: int, projected: Tensor) -> Tensor:
        return torch.cat(
            [own(index, rows) for own, rows in zip(attends, projected.split(counts), strict=True)]
        )

    tokens, positions = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "positions")
    )
    hidden = transform(weights, tokens, positions, attend)
    logits = weights.head(hidden)
    for part, own_hidden, own_logits in zip(parts, hidden.split(counts), logits.split(counts), strict=True):
        part.hidden.copy_(own_hidden)
        part.logits.copy_(own_logits)
