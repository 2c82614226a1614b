"""Waves and silences one after another: at once, or chunk by chunk with the same samples.

Axes: T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chunk:
    """What one part adds to the whole: wave [T]. The part's own sound is the samples start to end of the whole;
    a gap before it is not."""

    wave: Tensor
    start: int
    end: int


class Joiner:
    """Adds parts one after another, each as soon as it is there: a wave [T], or seconds of silence.

    Between two waves without a silence of their own comes one of gap_seconds. An empty wave is as if it were
    not there."""

    def __init__(self, rate: int, gap_seconds: float = 0.0):
        self.rate, self.gap = rate, _silence(gap_seconds, rate)
        self.position = 0
        self.waits = False  # the last sound was a wave

    def add(self, part: Tensor | float, continues: bool = False) -> Chunk:
        """What `part` adds; continues: it goes on with the wave before it. Raises ValueError for a silence that is
        negative or not finite."""
        lead = self.gap[:0]
        if isinstance(part, Tensor):
            own = part
            if self.waits and len(own) and not continues:
                lead = self.gap
            self.waits = self.waits or len(own) > 0
        else:
            own, self.waits = _silence(part, self.rate), False
        start = self.position + len(lead)
        self.position = start + len(own)
        return Chunk(torch.cat([lead, own]), start, self.position)


def silence_samples(seconds: float, rate: int) -> int:
    """Raises ValueError for a silence that is negative or not finite."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a silence is {seconds:g} s; it must be 0 or more")
    return round(seconds * rate)


def _silence(seconds: float, rate: int) -> Tensor:
    return torch.zeros(silence_samples(seconds, rate))
