"""The report's numbers against clips made to have them, and its words."""

import numpy as np
import pytest
import soundfile
import torch

from enhance.audio_input.read import read_audio
from enhance.report import bandwidth, judge
from pipeline.audio import resample
from tests.enhance.material import RATE, as_audio, mix, speech, talk, white


def test_good_speech_gets_no_warning():
    report = judge(as_audio(talk(8)))
    assert report.warnings == []
    assert report.seconds == report.source_seconds == 8
    assert report.snr_db > 30
    assert 0.6 < report.speech_share < 1
    assert not report.was_cut and not report.file_cut_off


def test_metrics_are_all_numbers_but_what_is_unknown():
    metrics = judge(as_audio(talk(4))).metrics()
    assert all(type(value) in (int, float, bool) for value in metrics.values())
    assert "declared_seconds" not in metrics and "warnings" not in metrics
    assert judge(as_audio(talk(4), declared=4.0)).metrics()["declared_seconds"] == 4


@pytest.mark.parametrize("rate", (16_000, 22_050, 48_000, 192_000))
def test_bandwidth_is_that_of_the_source(rate):
    telephone = resample(resample(talk(5), RATE, 8_000), 8_000, rate)
    assert bandwidth(telephone, rate) == pytest.approx(4_000, rel=0.1)
    assert bandwidth(white(rate), rate) == pytest.approx(rate / 2, rel=0.01)
    assert bandwidth(torch.zeros(1, rate), rate) == bandwidth(torch.ones(1, rate), rate) == 0


@pytest.mark.parametrize("frequency", (300, 1_000, 5_000))
def test_bandwidth_of_a_tone(frequency):
    tone = torch.sin(2 * torch.pi * frequency * torch.arange(2 * RATE) / RATE)[None]
    assert bandwidth(tone, RATE) == pytest.approx(frequency, abs=200)


def test_clipping_is_counted_in_the_file_before_the_channels_are_mixed(tmp_path):
    wave = np.zeros((RATE, 2), np.float32)
    wave[: RATE // 50, 0] = 1.0  # 2 % of one channel, 1 % of all samples; 0.5 after the mean
    soundfile.write(tmp_path / "clipped.wav", wave, RATE, subtype="PCM_16")
    report = judge(read_audio(tmp_path / "clipped.wav"))
    assert report.clipped_share == pytest.approx(0.01, rel=1e-3)
    assert report.peak == pytest.approx(0.5, abs=0.01)
    assert any(warning.startswith("1.0 % of samples are clipped:") for warning in report.warnings)


CASES = {
    "silent": (lambda: torch.zeros(1, 2 * RATE), "is silent"),
    "constant": (lambda: torch.full((1, 2 * RATE), 0.3), "is silent"),
    "noisy": (lambda: mix(talk(5), white(5 * RATE), 8), "dB under the voice"),
    "noise only": (lambda: 0.1 * white(5 * RATE), "Only 0 % of the reference is speech"),
    "telephone": (lambda: resample(resample(talk(5), RATE, 8_000), 8_000, RATE), "no sound above 4."),
    "quiet": (lambda: 0.02 * talk(5), "very quiet"),
    "offset": (lambda: 0.5 * talk(5) + 0.1, "off zero"),
    "short": (lambda: talk(2), "Only 2.0 s of reference"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_said(case):
    make, words = CASES[case]
    warnings = judge(as_audio(make())).warnings
    assert any(words in warning for warning in warnings), warnings
    assert all(warning.endswith(".") and "\n" not in warning for warning in warnings)


def test_the_window_is_what_is_judged():
    clean = talk(10)
    audio = as_audio(torch.cat([0.3 * white(10 * RATE), clean], dim=1))
    report = judge(audio, (10 * RATE, 20 * RATE))
    assert report.snr_db == judge(as_audio(clean)).snr_db
    assert report.was_cut and report.seconds == 10 and report.source_seconds == 20
    assert report.warnings == ["Of 20.0 s of reference, 10.0 to 20.0 s are used."]


def test_a_file_that_ends_early_is_said(tmp_path):
    path = tmp_path / "whole.wav"
    soundfile.write(path, speech("slt_1")[0].numpy(), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = judge(read_audio(path))
    assert report.file_cut_off
    assert report.warnings == [
        "Only 2.7 s of reference: the voice will be less alike; 5 to 15 s are best.",
        "The file is cut off: its header promises 5.5 s, 2.7 s are there.",
    ]
