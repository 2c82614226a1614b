"""Who speaks: `[voice:NAME]` in a text, and the same as a JSON list of turns."""

import json

import pytest

from pipeline.text.markup import Pause, Speech, Turn, parse_markup
from pipeline.text.script import prepare_script
from pipeline.text.turns import as_markup


@pytest.mark.parametrize(
    ("markup", "turn"),
    [
        ("[voice:anna]", Turn("anna")),
        ("[Voice : anna_2 ]", Turn("anna_2")),
        ("[voice:安娜, happy=0.6, calm=0.2]", Turn("安娜", "happy=0.6, calm=0.2")),
        ("【voice：anna，very sad】", Turn("anna", "very sad")),
        ("[voice:anna,]", Turn("anna")),
    ],
)
def test_a_turn_is_read(markup, turn):
    assert parse_markup(f"A.{markup}B.") == [Speech("A."), turn, Speech("B.")]


@pytest.mark.parametrize(
    "text", ["[voice]", "[voice anna]", "[a voice:anna]", "[voice:an\nna]", "(voice:anna)"]
)
def test_other_brackets_stay_text(text):
    assert parse_markup(text) == [Speech(text)]


@pytest.mark.parametrize("name", ["", "../anna", "a/b", "an na", "-anna", "a" * 65, "a.b", "\0"])
def test_a_name_that_none_may_have_is_refused(name):
    with pytest.raises(ValueError, match="the voice name .* allowed: 1 to 64 letters") as refused:
        parse_markup(f"A.[voice:{name}]B.")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 150


def test_segments_know_who_speaks_them(normalizer, tokenizer):
    text = "Hello.[voice:a]\n\nOne.\n\n[pause:1s][voice:b, sad=1]Two.[voice:a]"
    script = prepare_script(text, normalizer, tokenizer)
    told = [(p.seconds,) if isinstance(p, Pause) else (p.text, p.voice, p.emotion) for p in script]
    assert told == [("Hello.", None, None), (0.8,), ("One.", "a", None), (1.8,), ("Two.", "b", "sad=1")]


def test_turns_are_the_markup_they_stand_for():
    turns = [
        {"voice": "a", "text": "One.\n\nTwo."},
        {"voice": "b", "text": "Three [pause:1s] four.", "emotion": "sad=1"},
    ]
    assert as_markup(json.dumps(turns)) == "[voice:a]One.\n\nTwo.[voice:b, sad=1]Three [pause:1s] four."
    for text in ("Hello.", "[laughs]", "[ {no} ]", "", "[voice:a]x"):
        assert as_markup(text) is text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"', "begins like a JSON list of turns and is none"),
        ('[{"voice": "a", "text": "x"}] and more', "begins like"),
        ('[{"voice": "a"}]', "turn 1 has no text"),
        ('[{"voice": "a", "text": " "}]', "turn 1 has no text"),
        ('[{"text": "x"}]', "turn 1: the voice name 'None' is not allowed"),
        ('[{"voice": "a", "text": "x"}, 5]', "turn 2 is no object"),
        ('[{"voice": "a", "text": "x", "speed": 2}]', "turn 1 has 'speed'"),
        ('[{"voice": "a", "text": "x", "emotion": "sad=1][voice:b"}]', "the emotion of turn 1"),
        ('[{"voice": ["a"], "text": "x"}]', "turn 1: the voice name"),
        ('[{"a": ' + "[" * 100_000, "begins like"),
    ],
)
def test_turns_that_are_none_are_refused_in_a_line(text, message):
    with pytest.raises(ValueError, match=message) as refused:
        as_markup(text)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
