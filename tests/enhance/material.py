"""Speech and noise the tests of `enhance` are made of.

tests/enhance/speech/*.ogg: sentences spoken by flite 2.2 (voices slt, rms, awb, kal16), 16 kHz, Vorbis.
"""

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from enhance.audio_input.read import Audio, read_audio

SPEECH = sorted((Path(__file__).parent / "speech").glob("*.ogg"))
RATE = 16_000
TALKERS = 12


@functools.cache
def speech(name: str) -> Tensor:
    """[1, T] of the sentence `name`."""
    return read_audio(next(path for path in SPEECH if path.stem == name)).samples


def talk(seconds: float) -> Tensor:
    """[1, T]: sentences of two voices, one after another."""
    everything = torch.cat([speech(name) for name in ("slt_1", "rms_1", "slt_2", "rms_2")], dim=1)
    return everything.repeat(1, 1 + round(seconds))[:, : round(seconds * RATE)]


def white(length: int, seed: int = 0) -> Tensor:
    return torch.randn(1, length, generator=torch.Generator().manual_seed(seed))


@functools.cache
def babble(length: int, seed: int = 0) -> Tensor:
    """Many talkers at once, backwards, so that none is a sentence the test also uses."""
    random = np.random.default_rng(seed)
    total = torch.zeros(1, length)
    for index in range(TALKERS):
        voice = speech(SPEECH[index % len(SPEECH)].stem).flip(1)
        voice = voice.repeat(1, 1 + length // voice.shape[1]).roll(int(random.integers(length)), 1)[
            :, :length
        ]
        total += voice / power(voice).sqrt()
    return total


def power(samples: Tensor) -> Tensor:
    return samples.square().mean()


def mix(clean: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """`clean` with `noise` so much under it, both taken over the whole clip."""
    return clean + noise * (power(clean) / power(noise) / 10 ** (snr_db / 10)).sqrt()


def as_audio(
    samples: Tensor, rate: int = RATE, clipped_share: float = 0.0, declared: float | None = None
) -> Audio:
    return Audio(samples, rate, 1, "WAV", "PCM_16", clipped_share, declared)
