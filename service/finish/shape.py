"""Small changes to a whole wave: DC taken out, ends faded, peaks held. Waves are float32 [T] on the CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DC_HZ = 20.0  # under any voice: at 60 Hz the high pass takes 0.1 dB
DC_SETTLE_SECONDS = 0.1
FFT_MULTIPLE = 1024  # samples: a length without large prime factors
FADE_IN_SECONDS = 0.003  # a plosive at the very start keeps its burst
FADE_OUT_SECONDS = 0.01
PEAK_CEILING = 0.99  # of full scale: room for rounding and resampling


def remove_dc(wave: Tensor, rate: int) -> Tensor:
    """wave [T] through a high pass without delay or phase: a Butterworth filter of the second order, forwards and
    backwards.

    Not the mean: voices have DC where they speak, and taking that from everywhere puts it into the pauses."""
    if len(wave) < 2:
        return torch.zeros_like(wave)
    pad, signal = min(len(wave) - 1, round(DC_SETTLE_SECONDS * rate)), wave.double()
    before = 2 * signal[0] - signal[1 : pad + 1].flip(0)
    after = 2 * signal[-1] - signal[-pad - 1 : -1].flip(0)
    fill = -(pad + len(wave) + pad) % FFT_MULTIPLE
    bridge = torch.linspace(
        float(after[-1]), float(before[0]), fill, dtype=torch.float64
    )  # the end meets the start
    extended = torch.cat([before, signal, after, bridge])
    frequencies = torch.fft.rfftfreq(len(extended), 1 / rate, dtype=torch.float64)
    warped = torch.tan(torch.pi * frequencies / rate)  # of the bilinear transform
    edge = math.tan(math.pi * DC_HZ / rate)
    gains = warped**4 / (warped**4 + edge**4)
    return torch.fft.irfft(torch.fft.rfft(extended) * gains, n=len(extended))[pad : pad + len(wave)].float()


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
