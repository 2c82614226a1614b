"""Waves and silences one after another: at once, or chunk by chunk with the same samples.

Axes: T samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
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


def chunks(parts: Iterable[Tensor | float], rate: int, gap_seconds: float = 0.0) -> Iterator[Chunk]:
    """A chunk per part as soon as the part is there; each a wave [T] or seconds of silence.

    Between two waves without a silence of their own comes one of gap_seconds. An empty wave is as if it were
    not there. Raises ValueError for a silence that is negative or not finite."""
    gap = _silence(gap_seconds, rate)
    position = 0
    waits = False  # the last sound was a wave
    for part in parts:
        if isinstance(part, Tensor):
            own = part
            lead = gap if waits and len(own) else gap[:0]
            waits = waits or len(own) > 0
        else:
            own, lead, waits = _silence(part, rate), gap[:0], False
        start = position + len(lead)
        position = start + len(own)
        yield Chunk(torch.cat([lead, own]), start, position)


def join(
    parts: Iterable[Tensor | float], rate: int, gap_seconds: float = 0.0
) -> tuple[Tensor, list[tuple[int, int]]]:
    """All of `chunks`: the whole wave [T], and for each part its first sample and one past its last."""
    done = list(chunks(parts, rate, gap_seconds))
    wave = torch.cat([chunk.wave for chunk in done]) if done else torch.zeros(0)
    return wave, [(chunk.start, chunk.end) for chunk in done]


def _silence(seconds: float, rate: int) -> Tensor:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a silence is {seconds:g} s; it must be 0 or more")
    return torch.zeros(round(seconds * rate))
