"""What becomes of a segment's wave before it is heard: checked, cleaned, joined to the others.

Everything is done to one segment without knowing the others, so that a stream of segments and the whole file
have the same samples. Waves are float32 [T] in [-1, 1] on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from service.finish.shape import fade_ends, limit_peak, remove_dc
from service.finish.tail import trim_noisy_tail


@dataclass(frozen=True)
class Finished:
    """wave [T'] that joins to silence without a click; trimmed_seconds of noise were cut off its end."""

    wave: Tensor
    trimmed_seconds: float


def finish_segment(wave: Tensor, rate: int) -> Finished:
    """A segment's wave [T] as it goes into the result. Samples that are not finite, which check_segment tells
    of, become silence."""
    finite = torch.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0)
    trimmed, seconds = trim_noisy_tail(remove_dc(finite, rate), rate)
    return Finished(limit_peak(fade_ends(trimmed, rate)), seconds)
