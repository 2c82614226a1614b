"""w2v-bert 2.0's encoder: conformer layers with causal convolutions and relative key positions.

Axes: B batch, T frames at 50 Hz, D width, H heads, d head width. Parameter names are those of Hugging Face's
`Wav2Vec2BertModel`, whose values this gives (tests/conditioning/test_semantic.py); that class brings a second
of imports that no request needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import SemanticConfig

NORM_EPS = 1e-5


class FeatureProjection(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.layer_norm = nn.LayerNorm(inputs, eps=NORM_EPS)
        self.projection = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.layer_norm(x))


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.intermediate_dense, self.output_dense = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(F.silu(self.intermediate_dense(x)))


class SelfAttention(nn.Module):
    """Scores are q·(k + e), e an embedding of the clipped distance between key and query."""

    def __init__(self, width: int, heads: int, left: int, right: int):
        super().__init__()
        self.heads, self.left, self.right = heads, left, right
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.distance_embedding = nn.Embedding(left + right + 1, width // heads)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """mask [B, 1, 1, T] additive."""
        q, k, v = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear in (self.linear_q, self.linear_k, self.linear_v)
        )
        place = torch.arange(x.shape[1], device=x.device)
        distance = (place - place[:, None]).clamp(-self.left, self.right) + self.left  # [query, key]
        by_distance = (
            q @ self.distance_embedding.weight.t() * q.shape[-1] ** -0.5
        )  # [B, H, T, left + right + 1]
        bias = by_distance.gather(-1, distance.expand(*q.shape[:2], -1, -1)) + mask
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.linear_out(h.transpose(1, 2).flatten(2))


class ConvolutionModule(nn.Module):
    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.layer_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pointwise_conv1 = nn.Conv1d(width, 2 * width, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(width, width, kernel, groups=width, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pointwise_conv2 = nn.Conv1d(width, width, 1, bias=False)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """hidden [B, T, 1] bool: frames that are padding."""
        h = self.layer_norm(x).masked_fill(hidden, 0).transpose(1, 2)
        h = F.pad(F.glu(self.pointwise_conv1(h), dim=1), (self.depthwise_conv.kernel_size[0] - 1, 0))
        h = F.silu(self.depthwise_layer_norm(self.depthwise_conv(h).transpose(1, 2)))
        return self.pointwise_conv2(h.transpose(1, 2)).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self, config: SemanticConfig):
        super().__init__()
        width = config.hidden_size
        self.ffn1_layer_norm, self.self_attn_layer_norm, self.ffn2_layer_norm, self.final_layer_norm = (
            nn.LayerNorm(width, eps=NORM_EPS) for _ in range(4)
        )
        self.ffn1, self.ffn2 = (FeedForward(width, config.intermediate_size) for _ in range(2))
        self.self_attn = SelfAttention(width, config.heads, config.left_positions, config.right_positions)
        self.conv_module = ConvolutionModule(width, config.conv_kernel)

    def forward(self, x: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        x = x + self.conv_module(x, hidden)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        return self.final_layer_norm(x)


class W2VBert(nn.Module):
    """Stacked log-mel frames [B, T, mel_bins · stride] and their mask [B, T] (0: padding) -> the hidden state
    after the layers that are built [B, T, D]."""

    def __init__(self, config: SemanticConfig):
        super().__init__()
        self.feature_projection = FeatureProjection(config.mel_bins * config.stride, config.hidden_size)
        layers = nn.ModuleList(Layer(config) for _ in range(config.hidden_layer))
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        hidden = ~mask.bool()[..., None]
        x = self.feature_projection(features).masked_fill(hidden, 0)
        additive = x.new_zeros(mask.shape).masked_fill(~mask.bool(), -torch.inf)[:, None, None]
        for layer in self.encoder["layers"].children():
            x = layer(x, additive, hidden)
        return x
