"""Waveform arithmetic against independent implementations."""

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from pipeline.audio import log_mel, resample, write_wav
from pipeline.config import load_config
from pipeline.deterministic import tone

CONFIG = load_config("indextts2").audio


def test_mel_is_librosas_but_for_the_floor():
    wave = tone("mel", 1.0, 22050)
    pad = (1024 - 256) // 2
    spectrum = np.abs(
        librosa.stft(np.pad(wave[0].numpy(), pad, mode="reflect"), n_fft=1024, hop_length=256, center=False)
    )
    expected = np.log(np.maximum(librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80) @ spectrum, 1e-5))
    ours = log_mel(wave, CONFIG)[0].numpy()
    loud = expected > -8
    np.testing.assert_allclose(ours[loud], expected[loud], atol=2e-3)


@pytest.mark.parametrize("rate", [8000, 44100, 44101, 48000, 191999])
def test_resampling_keeps_a_tone_a_tone(rate):
    time = np.arange(rate) / rate
    wave = torch.from_numpy(np.sin(2 * np.pi * 1000 * time).astype(np.float32))[None]
    out = resample(wave, rate, 16000)[0].numpy()
    assert abs(len(out) - 16000) <= 1
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(out)) / 16000)
    np.testing.assert_allclose(out[500:-500], expected[500:-500], atol=5e-3)


def test_resampling_removes_what_would_alias():
    wave = torch.from_numpy(scipy.signal.chirp(np.arange(48000) / 48000, 11000, 1, 22000).astype(np.float32))[
        None
    ]
    assert resample(wave, 48000, 16000)[0, 500:-500].abs().max() < 0.02


def test_wav_clips_instead_of_wrapping(tmp_path):
    write_wav(tmp_path / "a.wav", torch.tensor([0.0, 0.5, 1.5, -2.0]), 22050)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 22050 and samples.tolist() == [0, 16384, 32767, -32767]
