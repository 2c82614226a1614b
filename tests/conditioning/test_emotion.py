"""Emotion weights: what people type, the bias and cap, the matrix rows, the text model's answer."""

import pytest
import torch

from pipeline.conditioning.emotion import blend, from_weights, parse_weights, temper, weights_from_answer
from pipeline.config import load_config

CONFIG = load_config("indextts2").emotion


def test_named_and_plain_weights_mean_the_same():
    expected = [0.6, 0, 0, 0, 0, 0, 0, 0.2]
    for text in (
        "happy=0.6, calm=0.2",
        " CALM = 0.2;happy=.6",
        "0.6,0,0,0,0,0,0,0.2",
        "[0.6, 0, 0, 0, 0, 0, 0, 0.2]",
    ):
        assert parse_weights(text, CONFIG) == expected


@pytest.mark.parametrize(
    "text, wrong",
    [
        ("", "is empty"),
        ("joyful=1", "names 'joyful'"),
        ("happy=1, happy=1", "'happy' twice"),
        ("happy=2", "is 2.0"),
        ("happy=-0.1", "is -0.1"),
        ("happy=nan", "is nan"),
        ("happy=", "not a number"),
        ("1,2,3", "3 numbers"),
        ("happy=1, 0.5", "mixes"),
        ("0,0,0,0,0,0,0,much", "'calm' is not a number"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_allowed(text, wrong):
    with pytest.raises(ValueError, match=wrong) as error:
        parse_weights(text, CONFIG)
    assert "allowed: 8 numbers" in str(error.value) and "\n" not in str(error.value)


def test_bias_comes_first_and_the_sum_is_capped():
    assert temper([0.5, 0, 0, 0, 0, 0, 0, 0], CONFIG) == [0.5 * 0.9375] + [0] * 7
    tempered = temper([1, 1, 1, 1, 1, 1, 1, 1], CONFIG)
    assert sum(tempered) == pytest.approx(0.8)
    assert tempered[7] / tempered[2] == pytest.approx(0.5625)


@pytest.fixture
def matrices(generator):
    rows = sum(CONFIG.rows)
    return torch.randn(rows, 192, generator=generator), torch.randn(rows, 32, generator=generator)


def test_the_row_of_the_most_similar_speaker_is_taken(matrices):
    speakers, emotions = matrices
    base = torch.zeros(1, 32)
    style = 3 * speakers[3 + 17 + 1][None]  # the second of the two sad rows
    vector = from_weights([0, 0, 1, 0, 0, 0, 0, 0], base, style, speakers, emotions, CONFIG)
    torch.testing.assert_close(vector, emotions[21][None])


def test_what_the_weights_leave_is_the_speakers_own(matrices, generator):
    base = torch.randn(1, 32, generator=generator)
    style = torch.randn(1, 192, generator=generator)
    torch.testing.assert_close(from_weights([0] * 8, base, style, *matrices, CONFIG), base)
    half = from_weights([0.5] + [0] * 7, base, style, *matrices, CONFIG)
    full = from_weights([1.0] + [0] * 7, base, style, *matrices, CONFIG)
    torch.testing.assert_close(half, 0.5 * base + 0.5 * full)


def test_random_rows_follow_the_generator(matrices):
    arguments = ([0, 1, 0, 0, 0, 0, 0, 0], torch.zeros(1, 32), torch.ones(1, 192), *matrices, CONFIG)
    drawn = {
        tuple(from_weights(*arguments, torch.Generator().manual_seed(seed))[0, :2].tolist())
        for seed in range(20)
    }
    again = {
        tuple(from_weights(*arguments, torch.Generator().manual_seed(seed))[0, :2].tolist())
        for seed in range(20)
    }
    assert len(drawn) > 5 and drawn == again


def test_alpha_blends_from_the_base():
    base, other = torch.zeros(1, 4), torch.ones(1, 4)
    assert blend(base, other, 0.25).tolist() == [[0.25] * 4]


@pytest.mark.parametrize(
    "scores, text, expected",
    [
        ({"高兴": 0.7, "自然": 0.3}, "good news", {"happy": 0.7, "calm": 0.3}),
        ({"高兴": 5.0, "愤怒": -1.0}, "x", {"happy": 1.2}),
        ({"悲伤": 0.9}, "a Gloomy day", {"melancholic": 0.9}),
        ({"低落": 0.4}, "今天很低落", {"sad": 0.4}),
        ({}, "x", {"calm": 1.0}),
        ({"高兴": 0.0, "未知": 1.0}, "x", {"calm": 1.0}),
    ],
)
def test_the_text_models_answer(scores, text, expected):
    weights = dict(zip(CONFIG.names, weights_from_answer(scores, text, CONFIG), strict=True))
    assert {name: value for name, value in weights.items() if value} == expected
