"""Speech that the tests of `service.finish` spoil.

speech/*.ogg: sentences spoken by flite 2.2 (voices slt, rms, awb, kal16), 16 kHz, Vorbis; each but `long` is
named after its last word, which ends in a sound that is easily taken for noise.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from enhance.audio_input.read import read_audio
from pipeline.audio import resample
from tests.conftest import ROOT

RATE = 22050
CLIPS = [*sorted((Path(__file__).parent / "speech").glob("*.ogg")), ROOT / "examples/speaker.wav"]


@pytest.fixture(params=CLIPS, ids=lambda path: path.stem)
def speech(request) -> Tensor:
    """[T] at RATE, in turn each clip."""
    return load(request.param)


@pytest.fixture(scope="session")
def sentence() -> Tensor:
    """[T] at RATE, the long clip, up to the end of its speech."""
    return load(Path(__file__).parent / "speech/long.ogg")[: round(6.01 * RATE)]


def load(path: Path) -> Tensor:
    audio = read_audio(path)
    return resample(audio.samples, audio.sample_rate, RATE)[0]


def noise(seconds: float, level_db: float, seed: int = 0) -> Tensor:
    """White noise [T] of this RMS level."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(round(seconds * RATE), generator=generator) * 10 ** (level_db / 20)


def silence(seconds: float) -> Tensor:
    return torch.zeros(round(seconds * RATE))
