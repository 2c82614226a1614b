"""From codes, and GPT latents where they are read, to the flow's condition.

Axes: B batch, T codes, F mel frames, C channels.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import RegulatorConfig


def make_latent_projection(model_dim: int, widths: tuple[int, ...], outputs: int) -> nn.Sequential:
    """gpt_layer: linears without activations, GPT latents [B, T, model_dim] -> [B, T, outputs]."""
    sizes = (model_dim, *widths, outputs)
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))


def target_frames(codes: int, config: RegulatorConfig, duration_factor: float) -> int:
    """Mel frames of so many codes: rounded down, as published. `duration_factor` stretches them, and not the pitch."""
    return int(codes * config.frames_per_code * duration_factor)


class LengthRegulator(nn.Module):
    """Semantic embeddings [B, T, in_channels] -> condition [B, F, channels] for any F."""

    def __init__(self, config: RegulatorConfig):
        super().__init__()
        channels = config.channels
        self.content_in_proj = nn.Linear(config.in_channels, channels)
        layers = []
        for _ in range(config.conv_layers):
            layers += [nn.Conv1d(channels, channels, 3, padding=1), nn.GroupNorm(1, channels), nn.Mish()]
        self.model = nn.Sequential(*layers, nn.Conv1d(channels, channels, 1))

    def forward(self, embeddings: Tensor, frames: int) -> Tensor:
        x = self.content_in_proj(embeddings).transpose(1, 2)
        return self.model(F.interpolate(x, size=frames, mode="nearest")).transpose(1, 2)
