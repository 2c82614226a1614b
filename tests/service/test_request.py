"""Requests are held to their limits, whoever sends them."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.config import load_config
from service.fields import Choice, Number, Switch, Words, checks_of
from service.request import Request

LIMITS, CHOICES = checks_of(Request, Number), checks_of(Request, Choice)
SWITCHES, TEXTS = checks_of(Request, Switch), checks_of(Request, Words)

PLAIN = Request("Hello.", Path("speaker.wav"))


def test_every_field_is_checked_somewhere():
    fields = {field.name for field in dataclasses.fields(Request)}
    assert fields == {
        "text",
        "speaker",
        "source_audio",
        "adapter",
        "voices",
        "emotion_audio",
        *LIMITS,
        *CHOICES,
        *SWITCHES,
        *TEXTS,
    }


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", ["1", True, float("nan"), float("inf"), -1e12, 1e12, [1]])
def test_numbers(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*allowed: a.* from .* to "):
        dataclasses.replace(PLAIN, **{name: value}).checked()


@pytest.mark.parametrize("name", LIMITS)
def test_both_ends_of_a_range_are_allowed_and_whole_floats_are_whole_numbers(name):
    limit = LIMITS[name]
    for value in (limit.low, limit.high):
        checked = getattr(dataclasses.replace(PLAIN, **{name: float(value)}).checked(), name)
        assert checked == value and isinstance(checked, limit.kind)
    if limit.kind is int:
        with pytest.raises(ValueError, match="a whole number"):
            dataclasses.replace(PLAIN, **{name: limit.low + 0.5}).checked()


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["nothing", 3, True, ["wav"]])
def test_choices(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*allowed: {CHOICES[name].values[0]}"):
        dataclasses.replace(PLAIN, **{name: value}).checked()


@pytest.mark.parametrize("name", SWITCHES)
def test_switches(name):
    with pytest.raises(ValueError, match=f"{name} is 'yes'; allowed: true, false"):
        dataclasses.replace(PLAIN, **{name: "yes"}).checked()


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name):
    with pytest.raises(ValueError, match=f"{name} is not a text"):
        dataclasses.replace(PLAIN, **{name: 5}).checked()
    assert getattr(dataclasses.replace(PLAIN, **{name: "  "}).checked(), name) is None


def test_nothing_given_is_the_default_and_the_seed_is_drawn():
    nothing = dataclasses.replace(
        PLAIN,
        **{
            field.name: None for field in dataclasses.fields(Request) if field.name not in ("text", "speaker")
        },
    ).checked()
    assert dataclasses.replace(nothing, seed=None) == PLAIN
    assert nothing.seed != PLAIN.checked().seed
    defaults = load_config("mini").synthesis
    assert nothing.synthesis(defaults) == defaults


def test_two_emotions_and_an_option_of_none_are_errors():
    for pair in (
        {"emotion_vector": "sad=1", "emotion_text": "sad"},
        {"emotion_vector": "sad=1", "emotion_from_text": True},
        {"emotion_audio": Path("x"), "emotion_text": "sad"},
    ):
        with pytest.raises(ValueError, match=" and ".join(pair) + " are given; give at most one"):
            dataclasses.replace(PLAIN, **pair).checked()
    for pair in ({}, {"emotion_audio": Path("x")}):
        with pytest.raises(ValueError, match="emotion_random picks the voices behind emotion weights"):
            dataclasses.replace(PLAIN, emotion_random=True, **pair).checked()


def test_formats_and_rates_that_do_not_go_together():
    with pytest.raises(ValueError, match="allowed for opus"):
        dataclasses.replace(PLAIN, output_format="opus", sample_rate=44100).checked()


@pytest.mark.parametrize("glossary, message", [("no reading here", "glossary"), ("=x", "glossary")])
def test_a_glossary_line_must_be_term_and_reading(glossary, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, glossary=glossary).checked().terms()
