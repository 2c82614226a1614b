"""Conditioners of the GPT: a conformer over semantic features, resampled by a perceiver.

Axes: B batch, T frames, D width, H heads, L latents. No mask is used: one clip is one batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import ConformerConfig

NORM_EPS = 1e-5
POSITION_BASE = 10000.0
BLOCK = 64  # frames that a CPU subsamples at once: 2 MB each of the published model's, three times


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positions 0…length−1 as sines (even channels) and cosines (odd): [length, width]."""
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    rate = torch.exp(
        torch.arange(0, width, 2, device=device, dtype=torch.float32) * -(math.log(POSITION_BASE) / width)
    )
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(1)


class Subsampling(nn.Module):
    """Conv2d over the [T, D] "image", halving both: [B, T, D] -> [B, (T−1)//2, output_size]."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, output_size, 3, stride=2), nn.ReLU(inplace=True))
        self.out = nn.Sequential(nn.Linear(output_size * ((input_size - 1) // 2), output_size))
        self.scale = math.sqrt(output_size)

    def forward(self, x: Tensor) -> Tensor:
        """On a CPU some frames at a time, as what lies between is so wide; training keeps all of it anyway."""
        frames = (x.shape[1] - 1) // 2
        step = BLOCK if x.device.type == "cpu" and not torch.is_grad_enabled() else max(frames, 1)
        blocks = [
            self.block(x[:, 2 * first : 2 * min(first + step, frames) + 1])
            for first in range(0, frames, step)
        ]
        return torch.cat(blocks, dim=1) * self.scale

    def block(self, x: Tensor) -> Tensor:
        h = self.conv(x[:, None]).transpose(1, 2).flatten(2)  # channel-major: [B, T', C · D']
        return self.out(h)


class RelativeAttention(nn.Module):
    """Transformer-XL's content and position biases, without its relative shift."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.empty(heads, width // heads))

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v, p = (
            linear(source).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, source in (
                (self.linear_q, x),
                (self.linear_k, x),
                (self.linear_v, x),
                (self.linear_pos, positions),
            )
        )
        u, w = self.pos_bias_u[:, None], self.pos_bias_v[:, None]
        # (q+u)kᵀ + (q+v)pᵀ as one product of concatenated vectors; sdpa's own scale is over twice the width
        queries = torch.cat([q + u, q + w], dim=-1)
        keys = torch.cat([k, p.expand_as(k)], dim=-1)
        h = F.scaled_dot_product_attention(queries, keys, v, scale=q.shape[-1] ** -0.5)
        return self.linear_out(h.transpose(1, 2).flatten(2))


class ConvolutionModule(nn.Module):
    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D]
        h = self.depthwise_conv(F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1))
        h = F.silu(self.norm(h.transpose(1, 2))).transpose(1, 2)
        return self.pointwise_conv2(h).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.w_1 = nn.Linear(width, inner)
        self.w_2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.silu(self.w_1(x)))


class ConformerBlock(nn.Module):
    """Attention, convolution, feed-forward (no macaron half), each residual with pre-norm."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        width = config.output_size
        self.self_attn = RelativeAttention(width, config.attention_heads)
        self.conv_module = ConvolutionModule(width, config.conv_kernel)
        self.feed_forward = FeedForward(width, config.linear_units)
        self.norm_mha, self.norm_conv, self.norm_ff, self.norm_final = (
            nn.LayerNorm(width, eps=NORM_EPS) for _ in range(4)
        )

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions)
        x = x + self.conv_module(self.norm_conv(x))
        x = x + self.feed_forward(self.norm_ff(x))
        return self.norm_final(x)


class Conformer(nn.Module):
    """Semantic features [B, T, D] -> context [B, (T−1)//2, output_size]."""

    def __init__(self, config: ConformerConfig, input_size: int):
        super().__init__()
        self.embed = Subsampling(input_size, config.output_size)
        self.encoders = nn.ModuleList(ConformerBlock(config) for _ in range(config.num_blocks))
        self.after_norm = nn.LayerNorm(config.output_size, eps=NORM_EPS)

    def forward(self, features: Tensor) -> Tensor:
        x = self.embed(features)
        positions = sinusoids(x.shape[1], x.shape[2], x.device).to(x.dtype)[None]
        for block in self.encoders:
            x = block(x, positions)
        return self.after_norm(x)


class CrossAttention(nn.Module):
    """Latents attend to [latents ; context]."""

    def __init__(self, dim: int, heads: int, dim_head: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        k, v = self.to_kv(torch.cat([latents, context], dim=1)).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.to_q(latents), k, v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class ScaledNorm(nn.Module):
    """x/‖x‖ · √dim · gamma."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = math.sqrt(dim)
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * self.scale * self.gamma


class PerceiverResampler(nn.Module):
    """Context [B, T, output_size] -> latents [B, L, perceiver_dim]."""

    def __init__(self, config: ConformerConfig):
        super().__init__()
        dim = config.perceiver_dim
        inner = int(dim * config.perceiver_mult * 2 / 3)
        self.latents = nn.Parameter(torch.empty(config.perceiver_latents, dim))
        self.proj_context = nn.Linear(config.output_size, dim)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    CrossAttention(dim, config.attention_heads, config.perceiver_dim_head),
                    nn.Sequential(nn.Linear(dim, 2 * inner), GEGLU(), nn.Linear(inner, dim)),
                ]
            )
            for _ in range(config.perceiver_depth)
        )
        self.norm = ScaledNorm(dim)

    def forward(self, context: Tensor) -> Tensor:
        context = self.proj_context(context)
        latents = self.latents.expand(context.shape[0], -1, -1)
        for layer in self.layers:
            attention, feed_forward = layer.children()
            latents = latents + attention(latents, context)
            latents = latents + feed_forward(latents)
        return self.norm(latents)
