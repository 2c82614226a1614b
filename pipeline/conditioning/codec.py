"""Semantic codec (RepCodec of MaskGCT): semantic features <-> codes.

Axes: B batch, T frames at 50 Hz, n codes, D feature width (1024), C Vocos width (384), E codebook width (8).
With a stride of 1 (IndexTTS-2) a code is a frame and only its embedding is used, so there is no decoder. With 2
(IndexTTS-2.5) a code is two frames, and the features are made of the codes again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import CodecConfig

KERNEL = 7
STRIDE_KERNEL = 3  # of the convolutions that change the rate
NORM_EPS = 1e-6


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution and a wide MLP over channels, scaled per channel (Vocos)."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        width, inner = config.vocos_dim, config.vocos_intermediate_dim
        self.dwconv = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(width, inner)
        self.pwconv2 = nn.Linear(inner, width)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T]
        h = self.norm(self.dwconv(x).transpose(1, 2))
        h = self.pwconv2(F.gelu(self.pwconv1(h))) * self.gamma
        return x + h.transpose(1, 2)


class VocosBackbone(nn.Module):
    def __init__(self, config: CodecConfig):
        super().__init__()
        self.embed = nn.Conv1d(config.hidden_size, config.vocos_dim, KERNEL, padding=KERNEL // 2)
        self.norm = nn.LayerNorm(config.vocos_dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList(ConvNeXtBlock(config) for _ in range(config.vocos_num_layers))
        self.final_layer_norm = nn.LayerNorm(config.vocos_dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:  # [B, D, T] -> [B, T, C]
        x = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x.transpose(1, 2))


class FactorizedVQ(nn.Module):
    """Vector quantizer with a narrow, cosine-matched codebook."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.in_project = nn.Conv1d(config.hidden_size, config.codebook_dim, 1)
        self.out_project = nn.Conv1d(config.codebook_dim, config.hidden_size, 1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)

    def nearest(self, x: Tensor) -> Tensor:
        """Codes [B, T] of the encoder's output x [B, T, D]."""
        narrow = F.normalize(self.in_project(x.transpose(1, 2)).transpose(1, 2), dim=-1)
        return (narrow @ F.normalize(self.codebook.weight, dim=-1).T).argmax(dim=-1)

    def embed(self, codes: Tensor) -> Tensor:
        """[B, T] -> [B, T, D]."""
        return self.out_project(self.codebook(codes).transpose(1, 2)).transpose(1, 2)


class ResidualVQ(nn.Module):
    """Holds the one quantizer under the published key."""

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.quantizers = nn.ModuleList([FactorizedVQ(config)])


def vocos(config: CodecConfig) -> nn.Sequential:
    """[B, D, T] -> [B, T, D]"""
    return nn.Sequential(VocosBackbone(config), nn.Linear(config.vocos_dim, config.hidden_size))


class SemanticCodec(nn.Module):
    def __init__(self, config: CodecConfig):
        super().__init__()
        self.stride = config.stride
        self.encoder = vocos(config)
        self.quantizer = ResidualVQ(config)
        if self.stride > 1:
            width, padding = config.hidden_size, STRIDE_KERNEL // 2
            self.down = nn.Conv1d(width, width, STRIDE_KERNEL, stride=self.stride, padding=padding)
            self.decoder = vocos(config)
            self.up = nn.Conv1d(width, width, STRIDE_KERNEL, padding=padding)

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized semantic features [B, T, D] -> codes [B, n] and their embedding [B, n, D]."""
        codes = self.encode(features)
        return codes, self.vq2emb(codes)

    def encode(self, features: Tensor) -> Tensor:
        """Normalized semantic features [B, T, D] -> codes [B, n], n = T / stride rounded up."""
        return self.quantizer.quantizers[0].nearest(self.encoded(features))

    def encoded(self, features: Tensor) -> Tensor:
        """What the quantizer sees of features [B, T, D]: [B, n, D]."""
        x = features.transpose(1, 2)
        return self.encoder(F.gelu(self.down(x)) if self.stride > 1 else x)

    def vq2emb(self, codes: Tensor) -> Tensor:
        """Codes [B, n] -> embedding [B, n, D]."""
        return self.quantizer.quantizers[0].embed(codes)

    def decode(self, codes: Tensor) -> Tensor:
        """What s2mel reads of codes [B, n]: their embedding [B, n, D], or with a stride features [B, n · stride, D]."""
        embedding = self.vq2emb(codes)
        if self.stride == 1:
            return embedding
        features = self.decoder(embedding.transpose(1, 2)).transpose(1, 2)
        return self.up(features.repeat_interleave(self.stride, dim=-1)).transpose(1, 2)
