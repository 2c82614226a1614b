"""Noise after speech is cut, and speech never is."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch

from service.finish.levels import frame_levels, loud_level, opened, periodicity
from service.finish.tail import KEEP_SECONDS, last_speech, trim_noisy_tail
from tests.service.finish.conftest import RATE, noise, silence


def end_of(speech: torch.Tensor) -> int:
    """One past the last sample that is clearly heard, found another way: the peak of what is left."""
    peaks = speech.abs().flip(0).cummax(0).values.flip(0)
    return int((peaks > 0.02 * speech.abs().max()).sum())


def loud_db(speech: torch.Tensor) -> float:
    """What the power over 20 ms reaches for 0.1 s."""
    power = scipy.ndimage.uniform_filter1d(speech.double().square().numpy(), RATE // 50)
    return 10 * np.log10(np.sort(power)[-RATE // 10])


def same(wave: torch.Tensor, rate: int = RATE) -> bool:
    trimmed, seconds = trim_noisy_tail(wave, rate)
    return seconds == 0.0 and torch.equal(trimmed, wave)


def test_good_speech_comes_back_as_it_is(speech):
    assert same(speech)


def test_good_speech_is_left_at_every_rate_and_level(speech):
    for rate in (8000, 16000, 48000):  # the same samples, said lower or higher, slower or faster
        assert same(speech, rate)
    assert same(speech * 0.1) and same(torch.cat([speech, silence(2)]))


def test_speech_that_breaks_off_is_left(speech):
    for share in torch.linspace(0.1, 0.99, 23).tolist():
        assert same(speech[: round(share * len(speech))]), share


def test_reverberation_is_left(speech):
    generator = torch.Generator().manual_seed(0)
    decay = 10 ** (-3 * torch.arange(RATE // 2) / (0.4 * RATE))  # 0.4 s to -60 dB
    room = torch.randn(RATE // 2, generator=generator) * decay
    room[0] = 10
    wet = torch.from_numpy(scipy.signal.fftconvolve(speech.numpy(), room.numpy())).float()
    wet *= 0.7 / wet.abs().max()
    trimmed, seconds = trim_noisy_tail(wet, RATE)
    assert len(trimmed) >= len(speech) and torch.equal(trimmed[: end_of(speech)], wet[: end_of(speech)])


@pytest.mark.parametrize("under", [17, 25, 35])
@pytest.mark.parametrize("wait", [0.0, 0.4])
def test_hiss_is_cut_soon_after_the_speech(speech, under, wait):
    end = end_of(speech)
    hiss = noise(2.0, loud_db(speech) - under)
    wave = torch.cat([speech[:end], silence(wait), hiss])
    trimmed, seconds = trim_noisy_tail(wave, RATE)
    assert seconds == pytest.approx((len(wave) - len(trimmed)) / RATE)
    assert end - 0.1 * RATE < len(trimmed) < end + 0.5 * RATE
    voiced = end - round(0.25 * RATE)  # a soft last sound like the hiss may be faded with it
    assert torch.equal(trimmed[:voiced], wave[:voiced])
    assert trimmed[-20:].abs().max() < 1e-3 * wave.abs().max(), "faded out"


def coloured(name: str) -> torch.Tensor:
    rumble, band = scipy.signal.butter(2, 500, fs=RATE), scipy.signal.butter(2, [1500, 2500], "band", fs=RATE)
    filters = {"low": rumble, "band": band, "high": scipy.signal.butter(2, 4000, "high", fs=RATE)}
    return torch.from_numpy(scipy.signal.lfilter(*filters[name], noise(2, 0).numpy())).float()


@pytest.mark.parametrize("colour", ["low", "band", "high"])
def test_hiss_of_any_colour_is_cut(sentence, colour):
    hiss = coloured(colour)
    hiss *= 10 ** ((loud_db(sentence) - 20) / 20) / hiss.square().mean().sqrt()
    trimmed, seconds = trim_noisy_tail(torch.cat([sentence, hiss]), RATE)
    assert seconds == pytest.approx(2 - KEEP_SECONDS, abs=0.15)


@pytest.mark.parametrize(
    "click",
    [torch.tensor([0.8]), noise(0.02, -12), torch.tensor([1.0, -1.0] * 50)],
    ids=["sample", "crackle", "square"],
)
def test_a_click_after_the_speech_is_cut(speech, click):
    end = end_of(speech)
    wave = torch.cat([speech[:end], silence(0.6), click, silence(0.3)])
    trimmed, seconds = trim_noisy_tail(wave, RATE)
    assert seconds > 0.3 and end <= len(trimmed) <= end + 0.5 * RATE
    kept = end - round(0.12 * RATE)  # the release of a last stop may be faded
    assert torch.equal(trimmed[:kept], wave[:kept])
    assert (trimmed[kept:end].abs() >= 0.5 * wave[kept:end].abs()).all()


def test_hiss_with_clicks_after_a_silence_is_cut(sentence):
    hiss = noise(1.5, loud_db(sentence) - 25)
    hiss[RATE // 2] = hiss[RATE] = 0.9
    trimmed, _ = trim_noisy_tail(torch.cat([sentence, silence(0.5), hiss]), RATE)
    assert len(trimmed) < len(sentence) + 0.4 * RATE


def test_much_more_hiss_than_speech_is_cut(speech):
    end = end_of(speech)
    trimmed, _ = trim_noisy_tail(torch.cat([speech[:end], noise(30, loud_db(speech) - 20)]), RATE)
    assert len(trimmed) < end + 0.5 * RATE


def test_a_drawn_out_vowel_is_no_hiss(sentence):
    time = torch.arange(2 * RATE) / RATE
    hum = sum(torch.sin(2 * torch.pi * 120 * k * time) / k for k in range(1, 9))
    hum *= 10 ** ((loud_db(sentence) - 20) / 20) / hum.square().mean().sqrt()
    assert same(torch.cat([sentence, hum]))


def test_whispering_is_no_hiss(sentence):
    """Noise all the way with the loudness of speech."""
    loudness = torch.from_numpy(np.abs(scipy.signal.hilbert(sentence.numpy()))).float()
    whisper = loudness * noise(len(sentence) / RATE, 0)[: len(sentence)]
    assert same(whisper)


@pytest.mark.parametrize(
    "wave",
    [
        torch.zeros(0),
        torch.zeros(1),
        torch.ones(100),
        silence(3),
        noise(3, -80),
        noise(3, -20),
        noise(0.02, -20),
    ],
)
def test_what_is_no_speech_is_left(wave):
    assert same(wave)


def test_input_is_not_changed(sentence):
    wave = torch.cat([sentence, noise(2, -40)])
    before = wave.clone()
    assert trim_noisy_tail(wave, RATE)[1] > 1 and torch.equal(wave, before)


def test_last_speech_follows_the_speech(sentence):
    for lead in (0.0, 0.5):
        wave = torch.cat([silence(lead), sentence, silence(1)])
        end = last_speech(frame_levels(wave, RATE), wave, RATE)
        assert end / 100 == pytest.approx(lead + len(sentence) / RATE, abs=0.05)


def test_levels_are_those_of_a_sine():
    time = torch.arange(RATE) / RATE
    levels = frame_levels(0.5 * torch.sin(2 * torch.pi * 1000 * time), RATE)
    assert len(levels) == 100 and torch.allclose(levels, torch.full((100,), -9.03), atol=0.1)
    assert loud_level(levels) == pytest.approx(-9.03, abs=0.1)


def test_opening_takes_bursts_and_leaves_dips():
    levels = torch.full((40,), -50.0)
    levels[10:14], levels[20:26], levels[30] = -10.0, -10.0, -90.0
    contour = opened(levels)
    assert (contour[:18] == -50).all() and (contour[20:26] == -10).all() and contour[30] == -90


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("pitch", [70, 200, 390])
def test_periodicity_tells_tone_from_noise(rate, pitch):
    tone = torch.sin(2 * torch.pi * pitch * torch.arange(rate) / rate)
    assert periodicity(tone, rate) > 0.95
    assert periodicity(noise(1, 0), rate) < 0.2
    assert periodicity(tone[:10], rate) == 0.0
