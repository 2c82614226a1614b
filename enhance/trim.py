"""Silence off both ends of a reference clip."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from enhance.levels import BLOCK_SECONDS, SILENCE, block_samples, decibels, frame_power

PAD_SECONDS = 0.05  # kept before and after, for soft beginnings and ends of words
MIN_SECONDS = 1.0  # a synthesis needs this much reference; a shorter clip is returned whole
LOUD_SECONDS = 0.1  # the loud parts are what is reached for this long in all: a click does not set the scale
FLOOR = 1e-10  # power that everything has at least
QUIET = 0.05  # quantile of the clip's power over time that stands for its background
OVER_QUIET_DB = 6.0  # sound is what rises this far over the background,
LEAST_RANGE_DB = 15.0  # and it is never less
MOST_RANGE_DB = 40.0  # nor more than this far under the loud parts


def trim_silence(
    samples: Tensor, sample_rate: int, pad_seconds: float = PAD_SECONDS, min_seconds: float = MIN_SECONDS
) -> Tensor:
    """[1, T] -> [1, T'], a view: leading and trailing silence off but for `pad_seconds`; pauses inside stay.

    What counts as silence is relative to the clip's own loud and quiet parts. Never shorter than
    `min_seconds`, unless the clip itself is: then, or if there is no sound at all, it comes back whole."""
    start, end = sound_bounds(samples, sample_rate)
    pad, least, length = round(pad_seconds * sample_rate), round(min_seconds * sample_rate), samples.shape[1]
    start, end = max(0, start - pad), min(length, end + pad)
    if end - start < least:  # widen around what is there
        start = max(0, min((start + end - least) // 2, length - least))
        end = min(length, start + least)
    return samples[:, start:end]


def sound_bounds(samples: Tensor, sample_rate: int) -> tuple[int, int]:
    """First and one past the last sample that is not silence, to 8 ms; (0, T) where all or nothing is."""
    power = frame_power(samples, sample_rate).cpu().numpy()
    loud = np.sort(power)[-min(len(power), round(LOUD_SECONDS / BLOCK_SECONDS))]
    quiet = np.quantile(power, QUIET)
    if loud <= SILENCE:
        return 0, samples.shape[1]
    range_db = np.clip(decibels(loud) - decibels(quiet) - OVER_QUIET_DB, LEAST_RANGE_DB, MOST_RANGE_DB)
    heard = np.flatnonzero(np.maximum(power, FLOOR) > loud * 10 ** (-range_db / 10))
    first, last = (heard[0], heard[-1] + 1) if len(heard) else (0, 0)
    size = block_samples(sample_rate)
    end = samples.shape[1] if last == len(power) else int(last) * size
    return int(first) * size, end
