"""Whether a segment can be what its text asked for, judged by its wave alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from service.finish.levels import FRAME_SECONDS, frame_levels, loud_level, opened
from service.finish.shape import remove_dc
from service.finish.tail import SILENCE_DB, SPEECH_RANGE_DB, last_speech

UNENDED = "it reached the length limit without an end of speech"


@dataclass(frozen=True)
class SegmentLimits:
    """What a segment may be before it counts as failed: bounds well to both sides of good speech, so that none is
    made again. Those per token depend on the vocabulary; these suit one of about four tokens a second."""

    min_seconds_per_token: float = 0.05
    max_seconds_per_token: float = 0.8
    slack_seconds: float = 1.5  # on top of the most: a single word may be drawn out
    max_silence_seconds: float = 1.5  # between words; the pause after a sentence is below 1 s


def check_segment(
    wave: Tensor,
    rate: int,
    *,
    tokens: int,
    stopped: bool,
    speed: float = 1.0,
    limits: SegmentLimits = SegmentLimits(),
) -> list[str]:
    """What is wrong with a segment, in plain words; empty if nothing is.

    wave [T] as the model made it; tokens: of its text; stopped: the model ended it by itself; speed: how
    much faster than usual it was to be spoken."""
    if not torch.isfinite(wave).all():
        return ["it holds samples that are not finite numbers"]
    wave = remove_dc(wave, rate)
    levels = frame_levels(wave, rate)
    if not len(levels) or levels.max() <= SILENCE_DB:
        return ["it holds no sound"]
    problems = length_problems(len(wave) / rate, tokens, stopped, speed, limits)
    for start, end in long_silences(wave, rate, limits.max_silence_seconds / min(1.0, speed)):
        problems.append(f"it is silent from {start:.1f} to {end:.1f} s")
    return problems


def length_problems(
    seconds: float, tokens: int, stopped: bool, speed: float, limits: SegmentLimits
) -> list[str]:
    """What is wrong with the end and the length of a segment of `tokens` that lasts `seconds`; empty if nothing is."""
    problems = [] if stopped else [UNENDED]
    least = limits.min_seconds_per_token * tokens / speed
    most = (limits.max_seconds_per_token * tokens + limits.slack_seconds) / speed
    if not least <= seconds <= most:
        problems.append(
            f"it lasts {seconds:.1f} s where {least:.1f} to {most:.1f} s are expected of {tokens} tokens"
        )
    return problems


def long_silences(wave: Tensor, rate: int, least_seconds: float) -> list[tuple[float, float]]:
    """(start, end) in seconds of each silence of at least least_seconds in wave [T] before the end of its speech."""
    levels = frame_levels(wave, rate)
    end = last_speech(levels, wave, rate)
    if end is None:
        return []
    contour = opened(levels)[:end]
    heard = torch.nonzero(contour > max(SILENCE_DB, loud_level(contour) - SPEECH_RANGE_DB))[:, 0].tolist()
    gaps = pairwise([-1, *heard, end])
    return [
        ((before + 1) * FRAME_SECONDS, after * FRAME_SECONDS)
        for before, after in gaps
        if (after - before - 1) * FRAME_SECONDS >= least_seconds
    ]
