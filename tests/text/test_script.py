"""Text with markup to segments and pauses."""

import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.markup import PARAGRAPH_SECONDS, Pause
from pipeline.text.prepare import TextSegment, UnspeakableError, prepare_text
from pipeline.text.script import prepare_script


def spoken(script) -> list:
    return [part.text if isinstance(part, TextSegment) else part.seconds for part in script]


def test_segments_and_pauses_in_order(normalizer, tokenizer):
    text = "[pause:1s]It's 5.[pause:300ms]Yes!\n\nWell."
    script = prepare_script(text, normalizer, tokenizer)
    assert spoken(script) == [1, "It is five.", 0.3, "Yes!", PARAGRAPH_SECONDS, "Well."]


@pytest.mark.parametrize(
    "text", ["Hello, world! It's 5 o'clock. " * 9, "我有3个苹果。\nI have 3.", "hello [laughs] שלום"]
)
def test_text_without_markup_is_as_ever(normalizer, tokenizer, text):
    options = {"max_segment_tokens": 30, "quick_start_tokens": 40}
    assert prepare_script(text, normalizer, tokenizer, **options) == prepare_text(
        text, normalizer, tokenizer, **options
    )


def test_a_pause_does_not_change_how_a_number_is_read(normalizer, tokenizer):
    assert spoken(prepare_script("We have\n\n3.", normalizer, tokenizer)) == [
        "We have",
        PARAGRAPH_SECONDS,
        "three.",
    ]
    assert spoken(prepare_script("我们有[pause:1s]3。", normalizer, tokenizer)) == ["我们有", 1, "三."]
    assert spoken(prepare_script("Cats[pause:1s]3", normalizer, tokenizer, language="zh"))[-1] == "三"


def test_unspeakable_parts_are_left_out_with_a_count(normalizer, tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        script = prepare_script(
            "😀[pause:1s] hello [pause:1s]... \n\n שלום [pause:2s]", normalizer, tokenizer
        )
    assert spoken(script) == [1, "hello", 3], "the paragraph has nothing spoken after it"
    assert [r.getMessage() for r in caplog.records] == ["3 of 4 parts of the text hold nothing to read aloud"]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("[pause]", ValueError, "only pauses; give at least one word"),
        ("[pause]...[pause]", UnspeakableError, "nothing to read aloud"),
        ("שלום[pause]", UnspeakableError, "none of the text's 1 tokens"),
        ("", ValueError, "is empty"),
        (" \n\n ", ValueError, "4 characters of white space"),
        (None, ValueError, "of type NoneType"),
        ("[" * 1_000_000, ValueError, "1,000,000 characters; at most 20,000"),
        ("hello [pause:10h]", ValueError, "'10h' cannot be read"),
    ],
)
def test_refused_in_one_line(normalizer, tokenizer, text, kind, message):
    with pytest.raises(kind, match=message) as caught:
        prepare_script(text, normalizer, tokenizer)
    assert "\n" not in str(caught.value)


def test_unknown_language_is_no_unspeakable_part(normalizer, tokenizer):
    with pytest.raises(ValueError, match="language is 'fr'"):
        prepare_script("hello[pause]world", normalizer, tokenizer, language="fr")


def test_quick_start_counts_tokens_of_the_whole_script(normalizer, tokenizer):
    sentence = "The quick brown fox is here. " * 4
    options = {"max_segment_tokens": 40, "quick_start_tokens": 30}
    paragraphs = prepare_script(f"{sentence}\n\n{sentence}", normalizer, tokenizer, **options)
    gap = next(index for index, part in enumerate(paragraphs) if isinstance(part, Pause))
    assert paragraphs[:gap] == prepare_text(sentence, normalizer, tokenizer, **options)
    later = prepare_text(sentence, normalizer, tokenizer, max_segment_tokens=40)
    assert paragraphs[gap + 1 :] == later
    assert len(paragraphs[0].token_ids) < len(later[0].token_ids)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["[pause]", "\n\n", "hi ", "5", "。", "😀", "[", "好"]), max_size=8))
def test_any_script_speaks_or_says_why_not(normalizer, tokenizer, pieces):
    try:
        script = prepare_script("".join(pieces), normalizer, tokenizer)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    assert any(isinstance(part, TextSegment) for part in script)
    assert not any(isinstance(a, Pause) and isinstance(b, Pause) for a, b in pairwise(script))
