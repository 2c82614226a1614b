"""Silence off both ends."""

import pytest
import torch

from enhance.trim import trim_silence
from tests.enhance.material import RATE, mix, speech, white

PAD = round(0.05 * RATE)


@pytest.fixture(scope="module")
def word():
    """Speech that begins and ends with sound."""
    return trim_silence(speech("rms_1"), RATE, pad_seconds=0)


def surround(clip, before, after, noise=0.0):
    padded = torch.cat([torch.zeros(1, before), clip, torch.zeros(1, after)], dim=1)
    return padded + noise * white(padded.shape[1])


@pytest.mark.parametrize("noise", (0.0, 1e-4, 1e-3))
def test_silence_goes_and_the_pad_stays(word, noise):
    trimmed = trim_silence(surround(word, 2 * RATE, 3 * RATE, noise), RATE)
    assert trimmed.shape[1] == pytest.approx(word.shape[1] + 2 * PAD, abs=0.06 * RATE)
    lag = 2 * RATE - PAD
    kept = surround(word, 2 * RATE, 3 * RATE, noise)
    assert any(
        torch.equal(trimmed, kept[:, start : start + trimmed.shape[1]])
        for start in range(lag - RATE // 20, lag + RATE // 20)
    )


def test_noisy_silence_goes_too(word):
    noisy = mix(surround(word, 2 * RATE, 2 * RATE), white(word.shape[1] + 4 * RATE), 20)
    assert trim_silence(noisy, RATE).shape[1] == pytest.approx(word.shape[1] + 2 * PAD, abs=0.2 * RATE)


def test_pauses_inside_stay(word):
    pause = torch.zeros(1, 3 * RATE)
    trimmed = trim_silence(surround(torch.cat([word, pause, word], dim=1), RATE, RATE), RATE)
    assert trimmed.shape[1] == pytest.approx(2 * word.shape[1] + 3 * RATE + 2 * PAD, abs=0.06 * RATE)


@pytest.mark.parametrize("gain", (0.03, 1.0, 5.0))
def test_the_threshold_is_relative(word, gain):
    clip = surround(word, RATE, RATE, 1e-4)
    assert torch.equal(trim_silence(gain * clip, RATE), gain * trim_silence(clip, RATE))


def test_a_click_does_not_count_as_the_clip(word):
    clip = surround(word, RATE, RATE)
    clip[:, RATE + word.shape[1] // 2] = 8.0
    assert trim_silence(clip, RATE).shape[1] == pytest.approx(word.shape[1] + 2 * PAD, abs=0.06 * RATE)


def test_a_short_sound_is_left_long_enough(word):
    short = word[:, : RATE // 4]
    for before, after in ((3 * RATE, 3 * RATE), (0, 3 * RATE), (3 * RATE, 0)):
        clip = surround(short, before, after)
        trimmed = trim_silence(clip, RATE, min_seconds=1.0)
        assert trimmed.shape[1] == RATE
        assert trimmed.square().sum() == pytest.approx(clip.square().sum())


def test_nothing_to_trim_by_comes_back_whole():
    for clip in (
        torch.zeros(1, 3 * RATE),
        torch.full((1, 3 * RATE), 0.4),
        white(3 * RATE),
        torch.ones(1, 1),
        torch.zeros(1, 50),
    ):
        assert torch.equal(trim_silence(clip, RATE), clip)


def test_no_copy_is_made(word):
    clip = surround(word, RATE, RATE)
    assert trim_silence(clip, RATE).untyped_storage().data_ptr() == clip.untyped_storage().data_ptr()
