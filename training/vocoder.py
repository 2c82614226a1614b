"""Trains BigVGAN on crops of speech: log-mel L1 at several resolutions and spectral convergence.

Axes: B batch, C mel channels, F mel frames, T samples.
"""
import dataclasses
import functools
from collections.abc import Mapping

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.audio import log_mel, resample
from pipeline.config import AudioConfig, ModelConfig, VocoderConfig
from pipeline.vocoder.bigvgan import BigVGAN
from training.data import Clip, read_wave
from training.features import Arrays
from training.fused import fuse

PCM_SCALE = 32_767.0
LOG_FLOOR = 1e-5
MEL_SCALES = ((256, 20), (512, 40), (1024, 80), (2048, 120))  # FFT size, mel bands; hop is a quarter
STFT_SCALES = (320, 1024)


@dataclasses.dataclass(frozen=True)
class VocoderOptions:
    """The `stage` section of a vocoder training configuration; `mel_weight` is the input mel's own L1."""
    batch: int
    crop_frames: int
    mel_weight: float
    scales_weight: float
    stft_weight: float
    seed: int


def audio_arrays(config: AudioConfig, clip: Clip) -> Arrays:
    """What training caches of a clip: `wave` int16 [T] at the model's rate and its `mel` float16 [C, F]."""
    wave, rate = read_wave(clip.path)
    wave = resample(torch.from_numpy(wave)[None], rate, config.sample_rate)
    pcm = (wave.clamp(-1, 1) * PCM_SCALE).round().to(torch.int16)
    return {"wave": pcm[0].numpy(), "mel": log_mel(wave, config)[0].numpy().astype(np.float16)}


@functools.cache
def _filters(size: int, bands: int, rate: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(librosa.filters.mel(sr=rate, n_fft=size, n_mels=bands)), torch.hann_window(size)


def magnitude(wave: Tensor, size: int, window: Tensor) -> Tensor:
    """Magnitudes [B, size / 2 + 1, frames] of waves [B, T], hop a quarter of `size`."""
    spectrum = torch.stft(wave, size, size // 4, size, window, return_complex=True)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)


def scales_loss(made: Tensor, wanted: Tensor, rate: int) -> Tensor:
    """Mean L1 of log-mels at `MEL_SCALES`; waves [B, T]."""
    total = torch.zeros(())
    for size, bands in MEL_SCALES:
        filters, window = _filters(size, bands, rate)
        a, b = (torch.log((filters @ magnitude(wave, size, window)).clamp(min=LOG_FLOOR)) for wave in (made, wanted))
        total = total + F.l1_loss(a, b)
    return total / len(MEL_SCALES)


def stft_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean spectral convergence at `STFT_SCALES`; waves [B, T]."""
    total = torch.zeros(())
    for size in STFT_SCALES:
        window = torch.hann_window(size)
        a, b = magnitude(made, size, window), magnitude(wanted, size, window)
        total = total + (a - b).norm(dim=(1, 2)).div(b.norm(dim=(1, 2)).clamp(min=1e-3)).mean()
    return total / len(STFT_SCALES)


class VocoderStage:
    """Random crops of `crop_frames` mel frames and the samples under them."""

    def __init__(self, config: ModelConfig, options: VocoderOptions, clips: Mapping[int, Arrays]):
        self.audio, self.options = config.audio, options
        torch.manual_seed(options.seed)
        self.module = fuse(BigVGAN(config.vocoder))
        self.clips = [arrays for arrays in clips.values() if arrays["mel"].shape[1] > options.crop_frames]
        if not self.clips:
            raise ValueError(f"no clip lasts more than {options.crop_frames} mel frames")

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        mel, wave = self.draw(rng)
        losses = self.distances(self.module(mel).float(), wave)
        return {"loss": self.weighted(losses), **losses}

    def distances(self, made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """How far waves [B, T] are from each other, by each measure."""
        with torch.autocast("cpu", enabled=False):
            return {"mel": F.l1_loss(log_mel(made, self.audio), log_mel(wanted, self.audio)),
                    "scales": scales_loss(made, wanted, self.audio.sample_rate), "stft": stft_loss(made, wanted)}

    def weighted(self, distances: Mapping[str, Tensor]) -> Tensor:
        return sum(getattr(self.options, f"{name}_weight") * distances[name] for name in ("mel", "scales", "stft"))

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """mel [B, C, F] and wave [B, T], T = F · hop."""
        frames, hop = self.options.crop_frames, self.audio.hop_length
        mels, waves = [], []
        for index in rng.integers(len(self.clips), size=self.options.batch):
            clip = self.clips[index]
            start = int(rng.integers(clip["mel"].shape[1] - frames + 1))
            mels.append(clip["mel"][:, start:start + frames])
            waves.append(clip["wave"][start * hop:(start + frames) * hop])
        return (torch.from_numpy(np.stack(mels)).float(),
                torch.from_numpy(np.stack(waves)).float() / PCM_SCALE)


def load_vocoder(config: VocoderConfig, state: Mapping[str, Tensor]) -> BigVGAN:
    """The trained vocoder in eval mode, with the fused activation where it can be had."""
    module = BigVGAN(config)
    module.load_state_dict(state)
    return fuse(module).eval().requires_grad_(False)
