"""Small changes to a whole wave: DC taken out, ends faded, peaks held. Waves are float32 [T] on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DC_HZ = 20.0  # under any voice: at 60 Hz the high pass takes 0.1 dB
DC_SETTLE_SECONDS = 0.1
FADE_IN_SECONDS = 0.003  # a plosive at the very start keeps its burst
FADE_OUT_SECONDS = 0.01
PEAK_CEILING = 0.99  # of full scale: room for rounding and resampling


def remove_dc(wave: Tensor, rate: int) -> Tensor:
    """wave [T] through a high pass without delay or phase.

    Not the mean: voices have DC where they speak, and taking that from everywhere puts it into the pauses."""
    if len(wave) < 2:
        return torch.zeros_like(wave)
    import scipy.signal  # service/imports.py brings it in first

    sections = scipy.signal.butter(2, DC_HZ, "highpass", fs=rate, output="sos")
    pad = min(len(wave) - 1, round(DC_SETTLE_SECONDS * rate))
    filtered = scipy.signal.sosfiltfilt(sections, wave.double().numpy(), padlen=pad)
    return torch.from_numpy(filtered.astype(np.float32))


def fade_in(length: int) -> Tensor:
    """[length] from 0 up towards 1, a quarter of a sine squared: no corner at either end."""
    return torch.sin(torch.arange(length) / max(1, length) * (torch.pi / 2)).square()


def fade_ends(wave: Tensor, rate: int, start: bool = True, end: bool = True) -> Tensor:
    """wave [T] that begins (`start`) and ends (`end`) at exactly 0; between the fades it is unchanged."""
    faded = wave.clone()
    rise = min(round(FADE_IN_SECONDS * rate), len(wave) // 2)
    fall = min(round(FADE_OUT_SECONDS * rate), len(wave) // 2)
    if start:
        faded[:rise] *= fade_in(rise)
    if end:
        faded[len(wave) - fall :] *= fade_in(fall).flip(0)
    return faded


def limit_peak(wave: Tensor, ceiling: float = PEAK_CEILING) -> Tensor:
    """wave [T], scaled as a whole if it is over the ceiling: nothing is clipped."""
    peak = float(wave.abs().max()) if len(wave) else 0.0
    return wave * (ceiling / peak) if peak > ceiling else wave
