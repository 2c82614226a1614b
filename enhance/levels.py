"""Power of a clip over time, small enough to look at whole: what trimming, judging and choosing a window
share.

Axes: T samples, N blocks of 8 ms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK_SECONDS = 0.008
BLOCKS_PER_FRAME = 4  # 32 ms: long enough for two periods of a low voice
SILENCE = 1e-9  # power; -90 dBFS, under the noise of any microphone and of 16-bit audio
LEAST_SILENCE = 1e-14  # power; -140 dBFS, where 24-bit audio and the arithmetic end
LOUD_OVER_SILENCE = 1e7  # 70 dB: what lies further under the loud parts does not count in any figure


def block_samples(sample_rate: int) -> int:
    return max(1, round(BLOCK_SECONDS * sample_rate))


def frame_power(samples: Tensor, sample_rate: int) -> Tensor:
    """Mean power around each block: [1, T] -> [N], N = T // block, at least 1. Full scale is 1.

    Each frame's own mean is taken out, and with it DC and rumble under the voice. A mean over the whole clip
    would put one into pauses that have none. Makes no copy of the samples."""
    size = block_samples(sample_rate)
    count = max(1, samples.shape[1] // size)
    blocks = samples[0, : count * size].view(count, -1)  # a clip shorter than a block is one block
    square = torch.linalg.vector_norm(blocks, dim=1).double().square() / blocks.shape[1]
    mean = blocks.mean(dim=1).double()
    power = _moving_mean(square, BLOCKS_PER_FRAME) - _moving_mean(mean, BLOCKS_PER_FRAME).square()
    return power.clamp_min(0).float()


def silence_level(power: Tensor) -> float:
    """The power up to which a clip of power over time [N] is digitally silent: lower in one that is quiet as
    a whole, whose background would be taken for silence otherwise."""
    return min(SILENCE, max(LEAST_SILENCE, power.max().item() / LOUD_OVER_SILENCE))


def decibels(power: float) -> float:
    """10 log10, at least -120."""
    return 10 * math.log10(max(power, 1e-12))


def _moving_mean(values: Tensor, width: int) -> Tensor:
    """[N] -> [N], over fewer neighbours at the ends."""
    left = (width - 1) // 2
    sums = torch.nn.functional.pad(values.cumsum(0), (1, 0))
    index = torch.arange(len(values), device=values.device)
    first, last = (index - left).clamp_min(0), (index - left + width).clamp_max(len(values))
    return (sums[last] - sums[first]) / (last - first)
