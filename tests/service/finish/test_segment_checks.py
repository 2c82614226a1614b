"""What is found wrong with a segment, and that good speech has nothing wrong with it."""

import math

import pytest
import torch

from service.finish.checks import SegmentLimits, check_segment, long_silences
from tests.service.finish.conftest import RATE, noise, silence

WORDS = {"long": 21, "speaker": 16}  # the others have four or five; a word has one to two tokens


@pytest.mark.parametrize("tokens_per_word", [1.0, 1.3, 2.0])
def test_good_speech_has_no_problems(speech, request, tokens_per_word):
    words = WORDS.get(request.node.callspec.id.split("-")[0], 4)
    assert check_segment(speech, RATE, tokens=math.ceil(words * tokens_per_word), stopped=True) == []


@pytest.mark.parametrize("wave", [torch.zeros(0), torch.zeros(5), silence(2), noise(2, -70)])
def test_no_sound(wave):
    assert check_segment(wave, RATE, tokens=10, stopped=True) == ["it holds no sound"]
    assert check_segment(wave, RATE, tokens=10, stopped=False) == ["it holds no sound"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_not_finite(sentence, value):
    wave = sentence.clone()
    wave[1000] = value
    assert check_segment(wave, RATE, tokens=25, stopped=True) == [
        "it holds samples that are not finite numbers"
    ]


def test_no_end_of_speech(sentence):
    problems = check_segment(sentence, RATE, tokens=25, stopped=False)
    assert problems == ["it reached the length limit without an end of speech"]


def test_length_far_off_what_the_text_predicts(sentence):
    assert check_segment(sentence, RATE, tokens=2, stopped=True) == [
        "it lasts 6.0 s where 0.1 to 3.1 s are expected of 2 tokens"
    ]
    assert check_segment(sentence[:RATE], RATE, tokens=110, stopped=True) == [
        "it lasts 1.0 s where 5.5 to 89.5 s are expected of 110 tokens"
    ]


def test_length_goes_with_speed(sentence):
    assert check_segment(sentence, RATE, tokens=4, stopped=True) != []
    assert check_segment(sentence, RATE, tokens=4, stopped=True, speed=0.5) == []
    assert check_segment(sentence, RATE, tokens=130, stopped=True) != []
    assert check_segment(sentence, RATE, tokens=130, stopped=True, speed=2.0) == []


def test_limits_are_the_callers(sentence):
    limits = SegmentLimits(max_seconds_per_token=3.0)
    assert check_segment(sentence, RATE, tokens=2, stopped=True, limits=limits) == []


def with_gap(sentence, seconds: float) -> torch.Tensor:
    """The sentence with a silence inside, its end at 3 s and more."""
    return torch.cat([sentence[: 3 * RATE], silence(seconds), sentence[3 * RATE :], silence(5)])


def test_a_long_silence_inside(sentence):
    (problem,) = check_segment(with_gap(sentence, 2.5), RATE, tokens=25, stopped=True)
    assert problem == "it is silent from 3.0 to 5.5 s"
    assert check_segment(with_gap(sentence, 1.2), RATE, tokens=25, stopped=True) == []


def test_slow_speech_may_wait_longer(sentence):
    assert check_segment(with_gap(sentence, 2.5), RATE, tokens=25, stopped=True, speed=0.5) == []
    problems = check_segment(with_gap(sentence, 1.8), RATE, tokens=40, stopped=True, speed=2.0)
    assert problems == ["it is silent from 3.0 to 4.8 s"]


def test_silences_are_where_they_are(sentence):
    wave = torch.cat([silence(1.1), with_gap(sentence, 2)])  # the clip itself begins with 0.2 s of silence
    wave[round(4.9 * RATE)] = 0.5  # a click does not hide a silence
    (zero, first), (second, third) = long_silences(wave, RATE, 0.9)
    assert zero == 0.0 and [first, second, third] == pytest.approx([1.3, 4.1, 6.1], abs=0.1)
    assert long_silences(wave, RATE, 2.2) == []


def test_silence_after_the_speech_does_not_count(sentence):
    assert long_silences(torch.cat([sentence, silence(9)]), RATE, 0.8) == []
    assert long_silences(silence(9), RATE, 0.8) == long_silences(torch.zeros(0), RATE, 0.8) == []
