"""Pauses in a text: what is markup, what stays text, what is refused, and that none of it takes long."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.markup import (
    DEFAULT_PAUSE_SECONDS,
    MAX_PARTS,
    MAX_PAUSE_SECONDS,
    MAX_TOTAL_SECONDS,
    PARAGRAPH_SECONDS,
    Pause,
    Speech,
    parse_markup,
)

A, B = Speech("A."), Speech("B.")


@pytest.mark.parametrize(
    ("markup", "seconds"),
    [
        ("[pause:1.5s]", 1.5),
        ("[pause:300ms]", 0.3),
        ("[pause]", DEFAULT_PAUSE_SECONDS),
        ("[pause:1.5]", 1.5),
        ("[pause 1s]", 1.0),
        ("[pause:1sec]", 1.0),
        ("[pause: 2 seconds]", 2.0),
        ("[pause:1秒]", 1.0),
        ("[pause:500毫秒]", 0.5),
        ("［pause：１．５］", 1.5),
        ("【pause:2s】", 2.0),
        ("【停顿】", DEFAULT_PAUSE_SECONDS),
        ("［pause］", DEFAULT_PAUSE_SECONDS),
        ('<break time="500ms"/>', 0.5),
        ("<break time='2s' />", 2.0),
        ("<break/>", DEFAULT_PAUSE_SECONDS),
        ('<break strength="x-strong"/>', 1.2),
        ('<BREAK TIME="1.5s"></break>', 1.5),
        ("[PAUSE: 2 S]", 2.0),
        ("[ pause : .5s ]", 0.5),
        ("[pause:1.s]", 1.0),
        ("[pause:10s]", MAX_PAUSE_SECONDS),
        ("[pause:0010000ms]", 10.0),
        ("[pause:1s] [pause:500ms]\n[pause]", 1.5 + DEFAULT_PAUSE_SECONDS),
        ("\n\n", PARAGRAPH_SECONDS),
        ("\n \t\u3000\n\n\n", PARAGRAPH_SECONDS),
        ("\r\n\r\n", PARAGRAPH_SECONDS),
        ("\r\r", PARAGRAPH_SECONDS),
        ("\u2029", PARAGRAPH_SECONDS),
        ("\n\n[pause:1s]", 1 + PARAGRAPH_SECONDS),
        ("\n\n[pause:1s]\n\n", 1 + 2 * PARAGRAPH_SECONDS),
    ],
)
def test_pauses_between_speech(markup, seconds):
    parts = parse_markup(f"A.{markup}B.")
    assert [parts[0], parts[2]] == [A, B] and len(parts) == 3
    assert parts[1].seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "[laughs]",
        "[]",
        "[[pause",
        "pause]",
        "[pause",
        "[pausee]",
        "[a pause]",
        "[pause: for thought]",
        "[pause:]",
        "[pause:[1s]",
        "(pause:1s)",
        "[pau\u200bse]",
        "[pau\u017fe]",
        "[pause\n]",
        "[pause:\n1s]",
    ],
)
def test_other_brackets_stay_text(text):
    assert parse_markup(text) == [Speech(text)]
    assert parse_markup(f"A. {text} [pause] B.") == [Speech(f"A. {text}"), Pause(DEFAULT_PAUSE_SECONDS), B]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_single_newline_is_no_pause(newline):
    assert parse_markup(f"A.{newline}B.") == [Speech("A.\nB.")]


@pytest.mark.parametrize("written", ["One[pause]. Two", "One [pause] .Two", "一[pause]。二", "Two[pause]!"])
def test_a_mark_behind_a_pause_ends_what_was_said_before_it(written):
    first, pause, *rest = parse_markup(written)
    assert first.text[-1] in ".。!" and pause == Pause(DEFAULT_PAUSE_SECONDS)
    assert [part.text for part in rest] in ([], ["Two"], ["二"])


@pytest.mark.parametrize("written", ["One[pause].5 m", "One[pause]... two", "[pause]. Two"])
def test_other_marks_behind_a_pause_stay(written):
    assert parse_markup(written)[-1].text[0] == "."


def test_empty_parts_are_dropped_and_outer_pauses_kept():
    assert parse_markup("") == parse_markup(" \n\n \r\n") == []
    assert parse_markup("[pause] \n [pause]") == [Pause(2 * DEFAULT_PAUSE_SECONDS)]
    assert parse_markup("\n\n [pause:1s]A.[pause:2s]  \n\n") == [Pause(1), A, Pause(2)]
    assert parse_markup("[pause:1s]\n\nA.") == [Pause(1), A], "a paragraph needs speech before it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pause:10h]", "'10h' cannot be read; write more than 0 and at most 10 s"),
        ("[pause:36000s]", "'36000s' is not allowed"),
        ("[pause:10.001s]", "'10.001s' is not allowed"),
        ("[pause:0s]", "'0s' is not allowed"),
        ("[pause:-1s]", "'-1s' cannot be read"),
        ("[pause:1,5s]", "'1,5s' cannot be read"),
        ("[pause:1e3s]", "'1e3s' cannot be read"),
        ("[pause:1\u017f]", "'1\\\\u017f' cannot be read"),
        ("[pause:" + "9" * 400 + "s]", "'99999999999999999999...' is not allowed"),
        ("[pause:9s]" * 7, "63 s together; at most 60 s"),
        ("[pause:1ms]" * 10_000, "more than 1,000 parts"),
        ("a\n\n" * 10_000, "more than 1,000 parts"),
        (None, "of type NoneType; it must be a string"),
    ],
)
def test_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_markup(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_limits_are_reached():
    assert parse_markup("[pause:10s]" * 6) == [Pause(MAX_TOTAL_SECONDS)]
    paragraphs = (MAX_PARTS + 1) // 2
    assert len(parse_markup("\n\n".join(["a"] * paragraphs))) == 2 * paragraphs - 1


@pytest.mark.parametrize(
    "pattern",
    [
        "[",
        "]",
        "[pause",
        "[pause:",
        "[pause:1s",
        "[pause:1ms]",
        "[ ",
        "[pause ",
        "[pause: ",
        "\n",
        "\n ",
        "a\n\n",
        "9",
        "\r\n\u3000",
    ],
)
@pytest.mark.parametrize("lead", ["", "[pause:", "[pause"])
def test_bombs_end(pattern, lead):
    """A million characters take 0.2 s in linear time; in quadratic time they would meet the tests' time limit."""
    text = (lead + pattern * 1_000_000)[:1_000_000]
    try:
        parts = parse_markup(text)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 200
    else:
        assert len(parts) <= MAX_PARTS


@given(
    st.lists(
        st.sampled_from(
            ["[pause]", "[pause:20ms]", "[", "]", "pause", ":1s", "\n", "\n\n", " ", "a", "好", "."]
        )
    )
)
def test_any_text_keeps_its_words_and_order(pieces):
    text = "".join(pieces)
    try:
        parts = parse_markup(text)
    except ValueError as error:  # a length that is none, as in [pause:1s:1s]
        assert "pause" in str(error)
        return
    assert all(part.seconds > 0 for part in parts if isinstance(part, Pause))
    assert not any(isinstance(a, Pause) and isinstance(b, Pause) for a, b in pairwise(parts))
    speeches = [part.text for part in parts if isinstance(part, Speech)]
    assert all(speech and speech == speech.strip() and "\n\n" not in speech for speech in speeches)
    bare = re.sub(r"\[ *pause *(: *(1s|20ms) *)?\]", "", text)
    assert re.sub(r"\s", "", "".join(speeches)) == re.sub(r"\s", "", bare)
