"""Waveform arithmetic: resampling, the vocoder's mel, the speaker encoder's filter bank, WAV writing.

Waves are float32 [B, T] in [-1, 1]. Reading files is `enhance.audio_input`. The audio packages are imported
where they are used: the model's stages, which need none of them, can then be checked on a machine that has
PyTorch alone.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import AudioConfig

if TYPE_CHECKING:
    import torchaudio

MAX_KERNEL_RATIO = 2_000_000  # product of the reduced rates; every pair of usual rates is far below


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _resampler(rate: int, target: int) -> torchaudio.transforms.Resample:
    import torchaudio

    # the transform makes its kernel in float64; the function of the same name does not
    return torchaudio.transforms.Resample(rate, target)


def resample(wave: Tensor, rate: int, target: int) -> Tensor:
    """`wave` [..., T] at `rate` Hz -> [..., ceil(T · target / rate)], on the CPU (torchaudio's defaults).

    torchaudio's kernel grows with the rates over their common divisor, to gigabytes for a pair like
    44101 and 16000; such pairs go through soxr."""
    if rate == target:
        return wave
    common = math.gcd(rate, target)
    if rate // common * (target // common) > MAX_KERNEL_RATIO:
        import soxr

        return torch.from_numpy(soxr.resample(wave.T.numpy(), rate, target, quality="VHQ").T.copy())
    return _resampler(rate, target)(wave)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)  # kept: training must be able to use what a synthesis made first
def _mel_filters(config: AudioConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    import torchaudio

    fmax = config.sample_rate / 2 if config.fmax is None else config.fmax
    bins = config.n_fft // 2 + 1
    filters = torchaudio.functional.melscale_fbanks(
        bins, config.fmin, fmax, config.n_mels, config.sample_rate, norm="slaney", mel_scale="slaney"
    )
    return filters.T.contiguous().to(device), torch.hann_window(config.win_length, device=device)


def log_mel(wave: Tensor, config: AudioConfig) -> Tensor:
    """Log-magnitude Slaney mel: [B, T] at config.sample_rate -> [B, n_mels, T // hop_length]."""
    filters, window = _mel_filters(config, wave.device)
    pad = (config.n_fft - config.hop_length) // 2
    padded = F.pad(wave[:, None], (pad, pad), mode="reflect")[:, 0]
    spectrum = torch.stft(
        padded, config.n_fft, config.hop_length, config.win_length, window, center=False, return_complex=True
    )
    magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + config.magnitude_floor)
    return torch.log(torch.clamp(filters @ magnitude, min=config.log_floor))


def kaldi_bank(wave: Tensor, rate: int, mel_bins: int) -> Tensor:
    """Kaldi's filter bank of [1, T] -> [frames, mel_bins] (25 ms windows, 10 ms hop)."""
    import torchaudio

    return torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=mel_bins, dither=0.0, sample_frequency=rate)


def kaldi_fbank(wave: Tensor, rate: int, mel_bins: int) -> Tensor:
    """The mean-subtracted filter bank of [1, T] -> [1, frames, mel_bins]."""
    bank = kaldi_bank(wave, rate, mel_bins)
    return (bank - bank.mean(dim=0, keepdim=True))[None]


def write_wav(path: Path, samples: Tensor, rate: int) -> None:
    """16-bit PCM WAV of a wave [T] in [-1, 1]; what lies outside is clipped, not wrapped."""
    write_pcm(path, samples, rate, "WAV")


def write_pcm(path: Path, samples: Tensor, rate: int, container: str) -> None:
    """`write_wav` to any container that soundfile knows: "WAV", "FLAC"."""
    import soundfile

    pcm = (samples.clamp(-1, 1) * np.iinfo(np.int16).max).round().to(torch.int16).cpu().numpy()
    soundfile.write(path, pcm, rate, format=container, subtype="PCM_16")
