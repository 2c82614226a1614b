"""Semantic codec (RepCodec of MaskGCT): semantic features <-> codes.

Axes: B batch, T frames at 50 Hz, D feature width (1024), C Vocos width (384), E codebook width (8).
IndexTTS2 never runs the decoder, so there is none here.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import CodecConfig

KERNEL = 7
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
        self.gamma = nn.Parameter(Tensor(width))

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


class SemanticCodec(nn.Module):
    def __init__(self, config: CodecConfig):
        super().__init__()
        self.encoder = nn.Sequential(VocosBackbone(config), nn.Linear(config.vocos_dim, config.hidden_size))
        self.quantizer = ResidualVQ(config)

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized semantic features [B, T, D] -> codes [B, T] and their embedding [B, T, D]."""
        codes = self.encode(features)
        return codes, self.vq2emb(codes)

    def encode(self, features: Tensor) -> Tensor:
        """Normalized semantic features [B, T, D] -> codes [B, T]."""
        return self.quantizer.quantizers[0].nearest(self.encoder(features.transpose(1, 2)))

    def vq2emb(self, codes: Tensor) -> Tensor:
        """Codes [B, T] -> embedding [B, T, D]."""
        return self.quantizer.quantizers[0].embed(codes)
