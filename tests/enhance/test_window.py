"""Which part of a long clip is used."""

import pytest
import torch

from enhance.report import choose_window
from tests.enhance.material import RATE, babble, mix, power, talk, white


def like(noise, clean, level):
    return noise * level * (power(clean) / power(noise)).sqrt()


@pytest.mark.parametrize("level", (2.0, 1.0, 0.3, 0.1))
@pytest.mark.parametrize("noise", (white, babble))
@pytest.mark.parametrize("seconds", (16, 10))
@pytest.mark.parametrize("first", ("noise", "speech"))
def test_best_is_the_speech_half(first, seconds, noise, level):
    clean = talk(seconds)
    other = like(noise(clean.shape[1]), clean, level)
    halves = (other, clean) if first == "noise" else (clean, other)
    start, end = choose_window(torch.cat(halves, dim=1), RATE)
    assert RATE * 15 / 3 <= end - start <= RATE * 15
    middle = clean.shape[1]
    in_speech = max(0, end - max(start, middle)) if first == "noise" else max(0, min(end, middle) - start)
    assert in_speech / (end - start) > 0.9


def test_best_prefers_clean_speech_to_noisy():
    clean = talk(16)
    noisy = mix(clean, white(clean.shape[1]), 5)
    assert choose_window(torch.cat([noisy, clean], dim=1), RATE)[0] >= 15.5 * RATE
    assert choose_window(torch.cat([clean, noisy], dim=1), RATE)[1] <= 16.5 * RATE


def test_of_equally_good_speech_the_longest_is_taken():
    start, end = choose_window(talk(40), RATE)
    assert end - start > 13 * RATE


def test_first_is_the_beginning():
    assert choose_window(talk(20), RATE, mode="first") == (0, 15 * RATE)
    assert choose_window(talk(20), RATE, max_seconds=4, mode="first") == (0, 4 * RATE)


@pytest.mark.parametrize("mode", ("best", "first"))
@pytest.mark.parametrize("samples", (1, 100, RATE, 15 * RATE))
def test_a_clip_that_fits_is_used_whole(samples, mode):
    assert choose_window(talk(15)[:, :samples], RATE, mode=mode) == (0, samples)


@pytest.mark.parametrize("rate", (8_000, 44_100, 192_000))
def test_bounds_lie_inside_at_any_rate(rate):
    for clip in (torch.zeros(1, 16 * rate), white(16 * rate), torch.full((1, 15 * rate + 1), 0.5)):
        start, end = choose_window(clip, rate)
        assert 0 <= start < end <= clip.shape[1]
        assert end - start <= 15 * rate


def test_unknown_mode_is_an_error():
    with pytest.raises(ValueError, match="'middle', allowed: best, first"):
        choose_window(talk(20), RATE, mode="middle")
