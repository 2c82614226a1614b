"""How loud a wave is over time, and whether a stretch of it has a pitch.

Axes: T samples, N frames of 10 ms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

FRAME_SECONDS = 0.01
FLOOR_DB = -120.0  # what digital silence is given
BURST_FRAMES = 5  # an opened contour holds nothing shorter
LOUD_SECONDS = 0.1  # the loud parts are what is reached for this long in all

PITCH_HZ = (60.0, 400.0)
PITCH_SECONDS = 0.05  # three periods of the lowest pitch


def decibels(power: float) -> float:
    """10 log10, at least FLOOR_DB."""
    return max(FLOOR_DB, 10 * math.log10(max(power, 1e-30)))


def frame_samples(rate: int) -> int:
    return max(1, round(FRAME_SECONDS * rate))


def frame_levels(wave: Tensor, rate: int) -> Tensor:
    """Level of each frame of wave [T]: [N] dB below full scale, N = T // frame."""
    size = frame_samples(rate)
    frames = wave[: len(wave) // size * size].view(-1, size)
    return (10 * torch.log10(frames.square().mean(dim=1))).clamp_min(FLOOR_DB)


def opened(levels: Tensor) -> Tensor:
    """[N] -> [N]: the contour without what rises for less than BURST_FRAMES (clicks, the bursts of stops)."""
    return _widened(-_widened(-levels))


def _widened(levels: Tensor) -> Tensor:
    return F.max_pool1d(levels[None, None], BURST_FRAMES, stride=1, padding=BURST_FRAMES // 2)[0, 0]


def loud_level(levels: Tensor) -> float:
    """The level in dB of the loud parts of levels [N], N > 0: of a few syllables, however long the rest."""
    return float(levels.topk(min(len(levels), round(LOUD_SECONDS / FRAME_SECONDS))).values[-1])


def periodicity(wave: Tensor, rate: int) -> float:
    """How much of wave [T] repeats at the pitch of a voice: 0 (noise) to 1, the median over its frames.

    The greatest autocorrelation at a lag of a voice's period, over the frame's power; 0 for a wave that is
    too short to tell."""
    size = round(PITCH_SECONDS * rate)
    shortest, longest = round(rate / PITCH_HZ[1]), round(rate / PITCH_HZ[0])
    if len(wave) < size:
        return 0.0
    frames = wave[: len(wave) // size * size].view(-1, size)
    frames = frames - frames.mean(dim=1, keepdim=True)
    power = torch.fft.rfft(frames, 2 * size).abs().square()
    correlation = torch.fft.irfft(power)[:, : longest + 1]  # [frames, lags]
    # Fewer products are summed at longer lags; without this the measure of a pure tone falls with its period.
    correlation = correlation * size / (size - torch.arange(longest + 1))
    best = correlation[:, shortest:].amax(dim=1) / correlation[:, 0].clamp_min(1e-12)
    return float(best.clamp(0, 1).median())
