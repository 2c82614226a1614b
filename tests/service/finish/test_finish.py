"""One segment cleaned: DC, fades, peaks, noise at the end; speech in between untouched."""

import math

import pytest
import torch

from service.finish.segment import finish_segment
from service.finish.shape import PEAK_CEILING, fade_ends, limit_peak, remove_dc
from tests.service.finish.conftest import RATE, noise, silence


def test_good_speech_changes_at_its_ends_only(speech):
    finished = finish_segment(speech, RATE)
    assert finished.trimmed_seconds == 0.0 and len(finished.wave) == len(speech)
    inside = slice(round(0.01 * RATE), -round(0.01 * RATE))
    clean = speech - speech.mean()
    assert (
        float((finished.wave - clean)[inside].norm() / clean.norm()) < 0.05
    )  # DC comes and goes with some voices
    spectra = [
        torch.fft.rfft(wave)[len(wave) * 80 // RATE :].abs()
        for wave in (finished.wave[inside], speech[inside])
    ]
    assert float((spectra[0] - spectra[1]).norm() / spectra[1].norm()) < 0.01, "above 80 Hz it is the same"


def test_tail_is_trimmed_and_told(sentence):
    wave = torch.cat([sentence, noise(2, -40)])
    finished = finish_segment(wave, RATE)
    assert finished.trimmed_seconds > 1.5
    assert finished.trimmed_seconds == pytest.approx((len(wave) - len(finished.wave)) / RATE)


@pytest.mark.parametrize("offset", [0.3, -0.3, 0.01])
def test_dc_is_gone(sentence, offset):
    wave = torch.cat([sentence, silence(1)]) + offset
    clean = remove_dc(wave, RATE)
    assert abs(float(clean.mean())) < 1e-4
    assert clean[-RATE // 2 :].abs().max() < 1e-3, "nor is any in the pauses"
    assert torch.allclose(clean, remove_dc(torch.cat([sentence, silence(1)]), RATE), atol=1e-4)
    assert finish_segment(wave, RATE).trimmed_seconds == 0.0, "DC is no noise after the speech"


def test_voice_with_dc_leaves_none_in_the_silence_after_it(sentence):
    wave = torch.cat([sentence + 0.05, silence(2)])
    assert remove_dc(wave, RATE)[-RATE:].abs().max() < 1e-4
    assert finish_segment(wave, RATE).trimmed_seconds == 0.0


@pytest.mark.parametrize("hertz", [60, 100, 1000, 10_000])
def test_high_pass_leaves_the_voice(hertz):
    tone = 0.5 * torch.sin(2 * torch.pi * hertz * torch.arange(RATE) / RATE)
    assert torch.allclose(remove_dc(tone, RATE)[2000:-2000], tone[2000:-2000], atol=0.01)


@pytest.mark.parametrize("length", [2, 3, 10, 100, 441, RATE])
def test_ends_are_zero_and_fades_are_short(length):
    faded = fade_ends(torch.ones(length), RATE)
    assert len(faded) == length and faded[0] == faded[-1] == 0
    assert (faded >= 0).all() and (faded <= 1).all()
    if length == RATE:
        rise, fall = round(0.003 * RATE), round(0.01 * RATE)
        assert (faded[rise:-fall] == 1).all()
        assert (faded[:rise].diff() > 0).all() and (faded[-fall:].diff() < 0).all()


@pytest.mark.parametrize("peak", [0.1, 0.98, 0.99])
def test_a_peak_under_the_ceiling_is_left(peak):
    wave = peak * torch.sin(torch.arange(1000) / 10)
    assert limit_peak(wave) is wave


@pytest.mark.parametrize("peak", [1.0, 1.01, 5.0])
def test_a_peak_over_the_ceiling_scales_the_whole(peak):
    wave = peak * torch.cos(torch.arange(1000) / 10)
    limited = limit_peak(wave)
    assert float(limited.abs().max()) == pytest.approx(PEAK_CEILING)
    assert torch.allclose(limited / PEAK_CEILING, wave / peak, atol=1e-6), (
        "no clipping: the shape is the same"
    )


def test_a_segment_does_not_know_the_others(sentence):
    """Loud neighbours do not change it: the scale is of each segment alone."""
    alone = finish_segment(sentence, RATE).wave
    finish_segment(sentence * 9, RATE)
    assert torch.equal(finish_segment(sentence, RATE).wave, alone)


@pytest.mark.parametrize("wave", [torch.zeros(0), torch.ones(1), torch.ones(2), silence(1), noise(1, 20)])
def test_anything_is_finished(wave):
    finished = finish_segment(wave, RATE)
    assert len(finished.wave) == len(wave)
    assert (finished.wave.abs() <= 0.9901).all()


def test_what_is_not_finite_becomes_silence(sentence):
    wave = sentence.clone()
    wave[1000:2000] = torch.tensor([math.nan, math.inf, -math.inf, 0.0]).repeat(250)
    finished = finish_segment(wave, RATE).wave
    assert torch.isfinite(finished).all() and finished[1100:1900].abs().max() < 1e-3


def test_input_is_not_changed(sentence):
    wave = torch.cat([sentence * 3 + 0.1, noise(1, -20)])
    before = wave.clone()
    finish_segment(wave, RATE)
    assert torch.equal(wave, before)
