"""Trains BigVGAN on crops of speech: log-mel L1 at several resolutions, spectral convergence, and the harmonics.

Axes: B batch, C mel channels, F mel frames, T samples.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.audio import log_mel, slaney_filters
from pipeline.config import AudioConfig, ModelConfig, VocoderConfig
from pipeline.vocoder.bigvgan import BigVGAN
from training.data import Clip, read_wave_at
from training.device import device_type, here, place, ready
from training.features import Arrays
from training.fused import fuse

PCM_SCALE = 32_767.0
NORMALIZED_CLIPS = 100  # whose mels say what the input is like
# Added to mel magnitudes before their logarithm is compared: -78 dB of full scale. The teachers' silence is zeros, whose
# logarithm would otherwise have the steepest gradient of all, and the clipped gradient be about them.
LOG_FLOOR = 1e-4
MEL_SCALES = (
    (128, 10),
    (256, 20),
    (512, 40),
    (1024, 80),
    (2048, 160),
)  # FFT size, mel bands; hop is a quarter
STFT_SCALES = (320, 1024)
STFT_FLOOR = 5.0  # norm of magnitudes below which a crop counts as quiet: speech has 100 and more
HARMONICS_SCALES = (1024, 2048)
HARMONICS_LIMIT = 2000.0  # Hz
HARMONICS_FLOOR = 1e-2  # added to magnitudes, so that what lies below is as good as silence
HARMONICS_QUIET = (
    5.0  # likewise: else silent crops, a thousand times as far, take all of the clipped gradient
)


@dataclasses.dataclass(frozen=True)
class VocoderOptions:
    """The `stage` section of a vocoder training configuration; `mel_weight` is the input mel's own L1. What has weight 0 is
    not computed."""

    batch: int
    crop_frames: int
    mel_weight: float
    scales_weight: float
    stft_weight: float
    harmonics_weight: float
    seed: int


def audio_arrays(config: AudioConfig, clip: Clip) -> Arrays:
    """What training caches of a clip: `wave` int16 [T] at the model's rate and its `mel` float16 [C, F]."""
    wave = torch.from_numpy(read_wave_at(clip.path, config.sample_rate))[None]
    pcm = (wave.clamp(-1, 1) * PCM_SCALE).round().to(torch.int16)
    return {"wave": pcm[0].numpy(), "mel": log_mel(wave, config)[0].numpy().astype(np.float16)}


@functools.cache
def _filters(size: int, bands: int, rate: int) -> tuple[Tensor, Tensor]:
    return slaney_filters(size, bands, rate, 0.0, rate / 2).to(torch.get_default_device()), torch.hann_window(
        size
    )


def magnitude(wave: Tensor, size: int, window: Tensor) -> Tensor:
    """Magnitudes [B, size / 2 + 1, frames] of waves [B, T], hop a quarter of `size`."""
    spectrum = torch.stft(wave, size, size // 4, size, window, return_complex=True)
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)


def scales_loss(made: Tensor, wanted: Tensor, rate: int) -> Tensor:
    """Mean L1 of log-mels at `MEL_SCALES`; waves [B, T]."""
    total = torch.zeros(())
    for size, bands in MEL_SCALES:
        filters, window = _filters(size, bands, rate)
        a, b = (torch.log(filters @ magnitude(wave, size, window) + LOG_FLOOR) for wave in (made, wanted))
        total = total + F.l1_loss(a, b)
    return total / len(MEL_SCALES)


def convergence(made: Tensor, wanted: Tensor, floor: float) -> Tensor:
    """Distance of magnitudes [B, bins, frames] over the size of the wanted ones, which counts as `floor` at least."""
    return (made - wanted).norm(dim=(1, 2)).div(wanted.norm(dim=(1, 2)).clamp(min=floor)).mean()


def mel_loss(made: Tensor, wanted: Tensor, config: AudioConfig) -> Tensor:
    """Mean L1 of the vocoder's own log-mels, above `LOG_FLOOR`; waves [B, T]."""
    floor = made.new_full((), math.log(LOG_FLOOR))
    return F.l1_loss(*(torch.logaddexp(log_mel(wave, config), floor) for wave in (made, wanted)))


def stft_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean spectral convergence at `STFT_SCALES`; waves [B, T]."""
    total = torch.zeros(())
    for size in STFT_SCALES:
        window = torch.hann_window(size)
        total = total + convergence(
            magnitude(made, size, window), magnitude(wanted, size, window), STFT_FLOOR
        )
    return total / len(STFT_SCALES)


def harmonics_loss(made: Tensor, wanted: Tensor, rate: int) -> Tensor:
    """Log-magnitude L1 plus spectral convergence below `HARMONICS_LIMIT`, in windows that tell harmonics apart.

    Without it a short training settles on a hum at the mel frame rate, whatever the voice's pitch. Waves [B, T].
    """
    total = torch.zeros(())
    for size in HARMONICS_SCALES:
        window, bins = torch.hann_window(size), int(HARMONICS_LIMIT * size / rate)
        a, b = (magnitude(wave, size, window)[:, :bins] for wave in (made, wanted))
        total = total + F.l1_loss((a + HARMONICS_FLOOR).log(), (b + HARMONICS_FLOOR).log())
        total = total + convergence(a, b, HARMONICS_QUIET)
    return total / len(HARMONICS_SCALES)


@torch.no_grad()
def normalize_input(module: BigVGAN, mels: Sequence[np.ndarray]) -> None:
    """Let the first convolution start as if its input had mean 0 and deviation 1, which mels [C, F] are far from."""
    values = np.concatenate([mel.astype(np.float32) for mel in mels], axis=1)
    first = module.conv_pre
    first.weight.div_(float(values.std()))
    first.bias.sub_(float(values.mean()) * first.weight.sum((1, 2)))


class VocoderStage:
    """Random crops of `crop_frames` mel frames and the samples under them."""

    def __init__(self, config: ModelConfig, options: VocoderOptions, clips: Mapping[int, Arrays]):
        self.audio, self.options = config.audio, options
        self.clips = [arrays for arrays in clips.values() if arrays["mel"].shape[1] > options.crop_frames]
        if not self.clips:
            raise ValueError(f"no clip lasts more than {options.crop_frames} mel frames")
        torch.manual_seed(options.seed)
        self.module = here(fuse(BigVGAN(config.vocoder)))
        normalize_input(self.module, [arrays["mel"] for arrays in self.clips[:NORMALIZED_CLIPS]])

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        mel, wave = self.draw(rng)
        losses = self.distances(self.module(mel).float(), wave)
        return {"loss": self.weighted(losses), **losses}

    def distances(self, made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """How far waves [B, T] are from each other, by each measure that has a weight."""
        rate = self.audio.sample_rate
        measures = {
            "mel": lambda: mel_loss(made, wanted, self.audio),
            "scales": lambda: scales_loss(made, wanted, rate),
            "stft": lambda: stft_loss(made, wanted),
            "harmonics": lambda: harmonics_loss(made, wanted, rate),
        }
        with torch.autocast(device_type(), enabled=False):
            return {name: measure() for name, measure in measures.items() if self.weight(name)}

    def weight(self, name: str) -> float:
        """Of a measure."""
        return getattr(self.options, f"{name}_weight")

    def weighted(self, distances: Mapping[str, Tensor]) -> Tensor:
        return sum(self.weight(name) * distance for name, distance in distances.items())

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """mel [B, C, F] and wave [B, T], T = F · hop."""
        frames, hop = self.options.crop_frames, self.audio.hop_length
        mels, waves = [], []
        for index in rng.integers(len(self.clips), size=self.options.batch):
            clip = self.clips[index]
            start = int(rng.integers(clip["mel"].shape[1] - frames + 1))
            mels.append(clip["mel"][:, start : start + frames])
            waves.append(clip["wave"][start * hop : (start + frames) * hop])
        return (place(np.stack(mels)).float(), place(np.stack(waves)).float() / PCM_SCALE)


def load_vocoder(config: VocoderConfig, state: Mapping[str, Tensor]) -> BigVGAN:
    """The trained vocoder in eval mode, with the fused activation where it can be had."""
    module = BigVGAN(config)
    module.load_state_dict(state)
    return ready(fuse(module))
