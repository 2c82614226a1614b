"""Loudness of speech (ITU-R BS.1770, through pyloudnorm) and bringing it to a target without clipping.

Axes: T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.audio import resample

MIN_TARGET, MAX_TARGET = -40.0, -8.0  # LUFS; speech is usually published at -23 to -14
TRUE_PEAK_DB = -1.0  # what broadcasters and streaming services allow
MAX_GAIN_DB = 30.0  # what is quieter than this under the target is noise
BLOCK_SECONDS = 0.4  # the standard's; nothing shorter can be measured

OVERSAMPLING = 4  # the standard's, for true peaks
PEAK_BLOCK = 2**20  # samples that are oversampled at a time
PEAK_MARGIN = 64  # samples on each side, more than the filter reaches


@dataclass(frozen=True)
class Leveled:
    """wave [T]; loudness: what it has now in LUFS, None if it cannot be measured; note: why that is not the
    target.
    """

    wave: Tensor
    loudness: float | None
    note: str | None


def loudness(wave: Tensor, rate: int) -> float | None:
    """Integrated loudness of wave [T] in LUFS; None below -70, the standard's gate.

    A wave shorter than one block is measured as if it went on: repeated until it fills one."""
    if not len(wave):
        return None
    import pyloudnorm  # service/imports.py brings it in first

    samples = wave.double().numpy()
    block = math.ceil(BLOCK_SECONDS * rate) + 1
    if len(samples) < block:
        samples = np.resize(samples, block)
    measured = pyloudnorm.Meter(rate).integrated_loudness(samples)
    return float(measured) if math.isfinite(measured) else None


def true_peak(wave: Tensor, rate: int) -> float:
    """The greatest absolute value of wave [T] at OVERSAMPLING times its rate; in blocks, so that it needs
    little memory.
    """
    peak = float(wave.abs().max()) if len(wave) else 0.0
    for start in range(0, len(wave), PEAK_BLOCK):
        block = wave[max(0, start - PEAK_MARGIN) : start + PEAK_BLOCK + PEAK_MARGIN]
        peak = max(peak, float(resample(block, rate, OVERSAMPLING * rate).abs().max()))
    return peak


def to_loudness(wave: Tensor, rate: int, target: float) -> Leveled:
    """wave [T], scaled to `target` LUFS; less where its true peak would be over TRUE_PEAK_DB or the gain over
    MAX_GAIN_DB. What cannot be measured stays as it is."""
    measured = loudness(wave, rate)
    if measured is None:
        return Leveled(
            wave, None, "the audio is too quiet for its loudness to be measured; it was left as it is"
        )
    room = TRUE_PEAK_DB - 20 * math.log10(true_peak(wave, rate))
    gain, reason = min(
        (target - measured, None),
        (room, f"more would put its peaks over {TRUE_PEAK_DB:g} dB"),
        (MAX_GAIN_DB, f"the gain is at most {MAX_GAIN_DB:g} dB"),
        key=lambda choice: choice[0],
    )
    reached = measured + gain
    note = None if reason is None else f"the loudness is {reached:.1f} LUFS instead of {target:g}: {reason}"
    return Leveled(wave * 10 ** (gain / 20), reached, note)
