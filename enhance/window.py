"""Which part of a long reference clip to use.

Axes: T samples, N blocks of 8 ms (`enhance.levels`), W candidate windows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from enhance.levels import BLOCK_SECONDS, block_samples, frame_power, silence_level
from enhance.speech import floor_near, speech_blocks

MAX_WINDOW_SECONDS = 15.0  # the published pipeline cuts there
SHORTEST_WINDOW = 1 / 3  # of the longest
WINDOW_STEP_SECONDS = 0.25
WINDOW_LENGTHS = 9
GOOD_SNR_DB = 30.0  # more is not better
LENGTH_EXPONENT = 0.5  # half as long must be 1.4 times as good


def choose_window(
    samples: Tensor, sample_rate: int, max_seconds: float = MAX_WINDOW_SECONDS, mode: str = "best"
) -> tuple[int, int]:
    """(start, end) in samples of the part of [1, T] to use: all of it up to `max_seconds`.

    mode "first": the beginning. "best": the part, a third of `max_seconds` or longer, with the highest
    speech share times SNR; longer ones are preferred, and earlier ones among equals."""
    if mode not in ("best", "first"):
        raise ValueError(f"reference_window is '{mode}', allowed: best, first")
    length, longest = samples.shape[1], round(max_seconds * sample_rate)
    if length <= longest:
        return 0, length
    if mode == "first":
        return 0, longest
    size = block_samples(sample_rate)
    power = frame_power(samples, sample_rate)
    most = max(1, longest // size)
    starts, ends = _candidates(len(power), most, round(WINDOW_STEP_SECONDS / BLOCK_SECONDS))
    best = int(torch.argmax(_scores(power, starts, ends, most)))
    return int(starts[best]) * size, int(ends[best]) * size


def _candidates(blocks: int, longest: int, step: int) -> tuple[Tensor, Tensor]:
    """Starts and ends [W] in blocks, the longest first, then by start."""
    lengths = torch.linspace(longest, longest * SHORTEST_WINDOW, WINDOW_LENGTHS).round().long().clamp_min(1)
    bounds = [
        (start, start + int(length))
        for length in lengths
        for start in range(0, blocks - int(length) + 1, step)
    ]
    starts, ends = torch.tensor(bounds).T
    return starts, ends


def _scores(power: Tensor, starts: Tensor, ends: Tensor, longest: int) -> Tensor:
    def total(values: Tensor) -> Tensor:
        sums = F.pad(values.double().cumsum(0), (1, 0)).cpu()
        return sums[ends] - sums[starts]

    share = total(speech_blocks(power)) / (ends - starts)
    noise = total(floor_near(power)).clamp_min(silence_level(power))
    snr = 10 * torch.log10(((total(power) - noise) / noise).clamp_min(1.0))
    return share * snr.clamp_max(GOOD_SNR_DB) * ((ends - starts) / longest) ** LENGTH_EXPONENT
