"""Text to token segments, and every text that is refused."""

import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.text.prepare import MAX_CHARACTERS, MAX_SEGMENT_TOKENS, prepare_text


def test_segments(normalizer, tokenizer):
    text = "Hello, world! It's 5 o'clock. " * 3 + "Straße, “yes”."
    segments = prepare_text(text, normalizer, tokenizer, max_segment_tokens=40)
    assert " ".join(s.text for s in segments) == "Hello, world! It is five o'clock. " * 3 + "Straße, 'yes'."
    assert all(0 < len(s.token_ids) <= 40 for s in segments) and len(segments) > 1
    assert sum((s.token_ids for s in segments), []) == tokenizer.encode(normalizer.normalize(text))


def test_language_is_passed_on(normalizer, tokenizer):
    assert [s.text for s in prepare_text("5 cats", normalizer, tokenizer, language="zh")] == ["五 cats"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "of type NoneType; it must be a string"),
        (b"bytes", "of type bytes; it must be a string"),
        (["a"], "of type list; it must be a string"),
        ("", "is empty"),
        (" \n\t\u3000", "4 characters of white space"),
        ("...!?，。", "nothing to read aloud"),
        ("😀🎉👨‍👩‍👧", "nothing to read aloud"),
        ("\x00\x01\x7f", "nothing to read aloud"),
        ("\u200b\u202e\ufeff", "nothing to read aloud"),
        ("\ud800", "nothing to read aloud"),
        ("\ue000\U000f0000", "nothing to read aloud"),
        ("()[]{}<>", "nothing to read aloud"),
        ("a" * 20_001, "20,001 characters; at most 20,000"),
        ("好" * 100_000, "100,000 characters; at most 20,000"),
        (" " * 100_000, "100,000 characters; at most 20,000"),
        ("שלום עולם", "none of the text's 2 tokens"),
        ("سلام", "none of the text's 1 tokens"),
    ],
)
def test_refused_in_one_line_without_the_text(normalizer, tokenizer, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        prepare_text(text, normalizer, tokenizer)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 200
    assert not isinstance(text, str) or len(text.strip()) < 2 or text not in said


def test_limit_is_a_parameter(normalizer, tokenizer):
    assert prepare_text("hello", normalizer, tokenizer, max_characters=5)
    with pytest.raises(ValueError, match="6 characters; at most 5 "):
        prepare_text("hello!", normalizer, tokenizer, max_characters=5)


def test_unknown_tokens_are_counted_in_the_log_without_the_text(normalizer, tokenizer, caplog):
    with caplog.at_level(logging.DEBUG):
        [segment] = prepare_text("hello שלום", normalizer, tokenizer)
    assert tokenizer.unknown_id in segment.token_ids
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 4 tokens are not in the model's vocabulary"
    ]


def test_known_text_is_not_warned_about(normalizer, tokenizer, caplog):
    prepare_text("雪, hello!", normalizer, tokenizer)
    assert not caplog.records


def test_segments_with_nothing_to_speak_are_left_out(normalizer, tokenizer):
    segments = prepare_text("hello. " + "שלום " * 30 + ". hello", normalizer, tokenizer, max_segment_tokens=8)
    assert [s.text for s in segments if "hello" not in s.text] == []
    assert len(segments) == 2


@settings(max_examples=150, deadline=None)
@example("ß", 1)
@given(st.text(max_size=60), st.integers(1, 120))
def test_any_text_gives_segments_or_a_one_line_error(normalizer, tokenizer, text, max_segment_tokens):
    try:
        segments = prepare_text(text, normalizer, tokenizer, max_segment_tokens=max_segment_tokens)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    assert segments
    for segment in segments:
        assert segment.text and 0 < len(segment.token_ids) <= max_segment_tokens


@pytest.mark.parametrize("pattern", ["a", "hello ", "雪", "Mr. Fox's 3rd visit cost $5. "])
def test_longest_text_is_cut_and_all_of_it_is_told(normalizer, tokenizer, pattern):
    text = (pattern * MAX_CHARACTERS)[:MAX_CHARACTERS]
    segments = prepare_text(text, normalizer, tokenizer)
    assert all(len(segment.token_ids) <= MAX_SEGMENT_TOKENS for segment in segments)
    assert "".join("".join(segment.written for segment in segments).split()) == "".join(text.split())


def test_tokens_the_model_does_not_know_are_counted(normalizer, tokenizer):
    segments = prepare_text("Hello ꙮꙮ there.", normalizer, tokenizer)
    assert sum(segment.unknown for segment in segments) > 0
    assert sum(segment.unknown for segment in prepare_text("Hello there.", normalizer, tokenizer)) == 0


def test_segments_carry_the_text_as_written(normalizer, tokenizer):
    text = "It cost **$5** in 2024 &amp; “more”. 😀 Dr. Lee ran 3-5 km and he said so."
    segments = prepare_text(text, normalizer, tokenizer, max_segment_tokens=40)
    assert [(s.text, s.written, s.lost) for s in segments] == [
        (
            "It cost five dollars in twenty twenty four and 'more'.",
            "It cost $5 in 2024 & “more”. 😀",
            ("😀",),
        ),
        ("doctor Lee ran three to five kilometers and he said so.", "Dr. Lee ran 3-5 km and he said so.", ()),
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["$5", "2024", "Hello", "3-4 km", "“yes”", "it's", "No. 5", "you!", "wait,", "end."]),
        min_size=1,
    )
)
def test_what_was_written_is_told_once_and_in_order(normalizer, tokenizer, words):
    text = " ".join(words)
    segments = prepare_text(text, normalizer, tokenizer, max_segment_tokens=60)
    assert " ".join(s.written for s in segments if s.written) == text
