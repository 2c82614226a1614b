"""The flow's velocity network: a U-ViT style diffusion transformer with a WaveNet head.

Axes: B batch, T frames (reference then target), C mel channels (80), D width, H heads, d head width,
E time embedding width (= D). Source: "Scalable Diffusion Models with Transformers" (Peebles & Xie),
U-ViT (Bao et al.), Seed-VC's use of them as `architecture.md` of the project describes it.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import DiTConfig, WaveNetConfig
from pipeline.loading import Constants
from pipeline.s2mel.wavenet import WaveNet

NORM_EPS = 1e-5
FINAL_NORM_EPS = 1e-6
TIME_PERIOD = 10000.0


class TimeEmbedding(Constants):
    """t [B] in [0, 1] -> [B, E]."""

    freqs: Tensor

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.frequencies, self.scale = config.time_frequencies, config.time_scale
        self.mlp = nn.Sequential(
            nn.Linear(2 * self.frequencies, config.hidden_dim),
            nn.SiLU(),
            nn.Linear(config.hidden_dim, config.hidden_dim),
        )
        self.init_constants()

    def constants(self) -> dict[str, Tensor]:
        return {
            "freqs": torch.exp(-math.log(TIME_PERIOD) * torch.arange(self.frequencies) / self.frequencies)
        }

    def forward(self, t: Tensor) -> Tensor:
        angle = self.scale * t[:, None].float() * self.freqs
        return self.mlp(
            torch.cat([angle.cos(), angle.sin()], dim=-1).to(cast(nn.Linear, self.mlp[0]).weight.dtype)
        )


class RMSNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, NORM_EPS)


class AdaptiveNorm(nn.Module):
    """RMSNorm scaled and shifted by the time embedding (the scale has no 1+)."""

    def __init__(self, dim: int):
        super().__init__()
        self.project_layer = nn.Linear(dim, 2 * dim)
        self.norm = RMSNorm(dim)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # x: [B, T, D], t: [B, 1, D]
        scale, shift = self.project_layer(t).chunk(2, dim=-1)
        return scale * self.norm(x) + shift


def rotary_table(length: int, head_dim: int, base: float, device: torch.device) -> Tensor:
    """e^(i · position · frequency): complex [length, d/2]."""
    rates = base ** -(torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angle = torch.arange(length, device=device).float()[:, None] * rates
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Rotary embedding of interleaved pairs, in float32: x [B, H, T, d]."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d) v of [B, H, T, d], in the type of `v`; mask [B, 1, 1, T] bool: the keys that count."""
    if v.device.type != "cpu" or v.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, attn_mask=mask)
    # PyTorch's fused kernel is no faster in bfloat16 than in float32; products of one head at a time are 1.6 times as
    # fast, and what they hold at once stays in the cache
    scale = q.shape[-1] ** -0.5
    heads = zip(
        *((x.flatten(0, 1).unbind()) for x in ((q * scale).to(v.dtype), k.to(v.dtype), v)), strict=True
    )
    if mask is None:
        return torch.stack([(q @ k.t()).softmax(-1) @ v for q, k, v in heads]).view(*q.shape[:-1], -1)
    hidden = ~mask[:, 0].repeat_interleave(q.shape[1], 0)  # [B · H, 1, T]
    return torch.stack(
        [
            (q @ k.t()).masked_fill(row, -torch.inf).softmax(-1) @ v
            for (q, k, v), row in zip(heads, hidden, strict=True)
        ]
    ).view(*q.shape[:-1], -1)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.wqkv = nn.Linear(dim, 3 * dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, table: Tensor, first: int = 0, mask: Tensor | None = None) -> Tensor:
        """Of all positions, for those from `first` on; mask [B, 1, 1, T] bool: those that count."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.wqkv(x).chunk(3, dim=-1)
        )
        h = attend(rotate(q[:, :, first:], table[first:]), rotate(k, table), v, mask)
        return self.wo(h.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, dim: int, multiple: int):
        super().__init__()
        inner = multiple * math.ceil(int(dim * 8 / 3) / multiple)
        self.w1, self.w3 = (nn.Linear(dim, inner, bias=False) for _ in range(2))
        self.w2 = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, config: DiTConfig, takes_skip: bool):
        super().__init__()
        dim = config.hidden_dim
        if takes_skip:
            self.skip_in_linear = nn.Linear(2 * dim, dim)
        self.attention_norm, self.ffn_norm = AdaptiveNorm(dim), AdaptiveNorm(dim)
        self.attention = Attention(dim, config.heads)
        self.feed_forward = SwiGLU(dim, config.ffn_multiple)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        table: Tensor,
        skip: Tensor | None,
        first: int = 0,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The positions from `first` on."""
        if skip is not None:
            x = self.skip_in_linear(torch.cat([x, skip], dim=-1)).to(x.dtype)
        x = x[:, first:] + self.attention(self.attention_norm(x, t), table, first, mask)
        return x + self.feed_forward(self.ffn_norm(x, t))


class Transformer(nn.Module):
    """The first half of the layers hand their outputs to the second half, last first."""

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.middle = config.depth // 2
        self.layers = nn.ModuleList(Layer(config, takes_skip=i > self.middle) for i in range(config.depth))
        self.norm = AdaptiveNorm(config.hidden_dim)

    def forward(
        self, x: Tensor, t: Tensor, table: Tensor, first: int = 0, mask: Tensor | None = None
    ) -> Tensor:
        """The positions from `first` on: those before it serve the last layer as keys and values only."""
        skips: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            skip = skips.pop() if i > self.middle and skips else None
            x = layer(x, t, table, skip, first if i + 1 == len(self.layers) else 0, mask)
            if i < self.middle:
                skips.append(x)
        return self.norm(x, t)


class FinalLayer(nn.Module):
    def __init__(self, width: int, embedding_dim: int):
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(embedding_dim, 2 * width))
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # x: [B, T, D], t: [B, E]
        shift, scale = self.adaLN_modulation(t)[:, None].chunk(2, dim=-1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=FINAL_NORM_EPS) * (1 + scale) + shift)


@dataclass(frozen=True)
class Static:
    """What a solver step needs and no step changes."""

    merged: Tensor  # [B, T, D]: prompt, condition and style through cond_x_merge_linear, with its bias
    table: Tensor  # rotary table
    first: int = 0  # of the frames that what follows the last attention is computed for
    mask: Tensor | None = None  # [B, 1, 1, T] bool: frames that count, where the rows' lengths differ
    lengths: Tensor | None = None  # [B] of the rows, counted from `first` on


class DiT(nn.Module):
    def __init__(self, config: DiTConfig, wavenet: WaveNetConfig):
        super().__init__()
        self.config = config
        self.compute: torch.dtype | None = None
        dim, channels, width = config.hidden_dim, config.in_channels, wavenet.hidden_dim
        self.cond_projection = nn.Linear(config.content_dim, dim)
        self.cond_x_merge_linear = nn.Linear(2 * channels + dim + config.style_dim, dim)
        self.t_embedder, self.t_embedder2 = TimeEmbedding(config), TimeEmbedding(config)
        self.transformer = Transformer(config)
        self.skip_linear = nn.Linear(dim + channels, dim)
        self.conv1 = nn.Linear(dim, width)
        self.wavenet = WaveNet(wavenet, dim)
        self.res_projection = nn.Linear(dim, width)
        self.final_layer = FinalLayer(width, dim)
        self.conv2 = nn.Conv1d(width, channels, 1)

    @property
    def dtype(self) -> torch.dtype:
        """Of what it takes and gives, and of the residual stream."""
        return self.transformer.norm.norm.weight.dtype

    def compute_in(self, dtype: torch.dtype) -> None:
        """Multiply in `dtype`: weights of linears and convolutions are kept in it, and what they take is cast; the
        residual stream, the norms and the solver's state stay as they are."""
        self.compute = dtype
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Conv1d)):
                part.to(dtype)

    def mixed(self, x: Tensor) -> contextlib.AbstractContextManager:
        """The context in which products are taken in the type of `compute_in`; without one, the caller's (training has
        one)."""
        if self.compute is None:
            return contextlib.nullcontext()
        return torch.autocast(x.device.type, self.compute)

    def prepare(
        self, prompt: Tensor, condition: Tensor, style: Tensor, needed: int = 0, lengths: Tensor | None = None
    ) -> Static:
        """prompt: mel [B, C, T], zero after the reference; condition [B, T, content_dim]; style [B, style_dim].
        `needed`: the first frame whose velocity is looked at; those before it by more than the output network's reach
        are saved the work. lengths [B]: frames of the rows, where they differ; nothing after them counts."""
        frames = condition.shape[1]
        weight = self.cond_x_merge_linear.weight[:, self.config.in_channels :]
        table = rotary_table(
            frames, self.config.hidden_dim // self.config.heads, self.config.rope_base, style.device
        )
        with self.mixed(prompt):
            fixed = torch.cat(
                [
                    prompt.transpose(1, 2),
                    self.cond_projection(condition).to(prompt.dtype),
                    style[:, None].expand(-1, frames, -1),
                ],
                dim=-1,
            )
            merged = F.linear(fixed, weight, self.cond_x_merge_linear.bias).to(prompt.dtype)
        first = max(0, needed - self.wavenet.reach)
        if lengths is None:
            return Static(merged, table, first)
        mask = torch.arange(frames, device=style.device) < lengths[:, None]
        return Static(merged, table, first, mask[:, None, None], lengths - first)

    def velocity(self, x: Tensor, t: Tensor, static: Static) -> Tensor:
        """Noisy mel x [B, C, T] at times t [B] -> velocity [B, C, T], right from the frame on that was asked for in
        `prepare`."""
        noisy, first = x.transpose(1, 2), static.first
        with self.mixed(x):
            t1, t2 = self.t_embedder(t), self.t_embedder2(t)
            h = F.linear(noisy, self.cond_x_merge_linear.weight[:, : self.config.in_channels]) + static.merged
            h = self.transformer(h, t1[:, None], static.table, first, static.mask)
            h = self.skip_linear(torch.cat([h, noisy[:, first:]], dim=-1))
            w = self.wavenet(self.conv1(h).transpose(1, 2), t2, static.lengths).transpose(1, 2)
            w = w + self.res_projection(h)
            velocity = self.conv2(self.final_layer(w, t1).transpose(1, 2)).to(x.dtype)
        return F.pad(velocity, (first, 0))

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor, condition: Tensor, style: Tensor) -> Tensor:
        return self.velocity(x, t, self.prepare(prompt, condition, style))


class FlowEstimator(nn.Module):
    """Holds the DiT under the published key `estimator`."""

    def __init__(self, config: DiTConfig, wavenet: WaveNetConfig):
        super().__init__()
        self.estimator = DiT(config, wavenet)
