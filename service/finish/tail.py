"""The end of a segment: where its speech ends, and noise after it that the model made up.

The rules are careful: what might be speech stays, and a tail that is silent anyway is left as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from service.finish.levels import FRAME_SECONDS, frame_levels, frame_samples, loud_level, opened, periodicity
from service.finish.shape import fade_in

SILENCE_DB = -60.0  # of full scale; nobody hears what is under it
SPEECH_RANGE_DB = 40.0  # speech is at most this far under the segment's loud parts
KEEP_SECONDS = 0.25  # kept after the speech: a stop ("cat") is released up to 0.15 s after its vowel
# Hiss is sound at the end that is long and steady, under the loud parts, and has no pitch. Speech is not like
# that: the longest final fricatives last 0.3 s, twice that at half speed, and rise and fall.
HISS_SECONDS = 0.7
HISS_UNDER_LOUD_DB = 15.0
HISS_BAND_DB = 6.0  # around the level of its last part
HISS_LAST_SECONDS = 0.3
HISS_PERIODICITY = 0.4  # noise has 0.07 to 0.25, whatever its colour; speech 0.5 and more, vowels 0.9


def trim_noisy_tail(wave: Tensor, rate: int) -> tuple[Tensor, float]:
    """wave [T] without noise after its last speech -> (wave [T'], seconds cut off; 0.0 and the same wave if
    none).

    Noise is steady hiss, and anything that follows KEEP_SECONDS after the last speech and can be heard, such
    as a click. Where something is cut, what is kept after the speech is faded out."""
    levels = frame_levels(wave, rate)
    end = last_speech(levels, wave, rate)
    if end is None:
        return wave, 0.0
    kept = end + round(KEEP_SECONDS / FRAME_SECONDS)
    if kept >= len(levels) or levels[kept:].max() <= SILENCE_DB:
        return wave, 0.0
    size = frame_samples(rate)
    trimmed = wave[: kept * size].clone()
    trimmed[end * size :] *= fade_in((kept - end) * size).flip(0)
    return trimmed, (len(wave) - len(trimmed)) / rate


def last_speech(levels: Tensor, wave: Tensor, rate: int) -> int | None:
    """Frames of wave [T], levels [N], up to the end of its last speech; None if none of it can be speech."""
    if not len(levels) or (loud := loud_level(opened(levels))) <= SILENCE_DB:
        return None
    end = len(levels)
    while end and (start := _hiss_start(opened(levels[:end]), loud, wave, rate)) is not None:
        end = start
    if not end:
        return None
    audible = torch.nonzero(opened(levels[:end]) > loud - SPEECH_RANGE_DB)
    return int(audible[-1]) + 1 if len(audible) else None


def _hiss_start(contour: Tensor, loud: float, wave: Tensor, rate: int) -> int | None:
    """The frame where the hiss begins that levels [N] end with; None if they do not."""
    level = float(contour[-round(HISS_LAST_SECONDS / FRAME_SECONDS) :].median())
    if not SILENCE_DB < level <= loud - HISS_UNDER_LOUD_DB:
        return None
    outside = torch.nonzero((contour - level).abs() > HISS_BAND_DB)
    start = int(outside[-1]) + 1 if len(outside) else 0
    if (len(contour) - start) * FRAME_SECONDS < HISS_SECONDS:
        return None
    size = frame_samples(rate)
    hiss = wave[start * size : len(contour) * size]
    return start if periodicity(hiss, rate) < HISS_PERIODICITY else None
