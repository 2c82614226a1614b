"""Phones: pronunciations, the reader's own and those written into a text, and what of the text each part reads."""

import pytest

from pipeline.text.annotations import find_annotations, phones_of
from pipeline.text.glossary import Glossary
from pipeline.text.normalize import TextNormalizer
from pipeline.text.phones import LONGEST_WORD, UNKNOWN, VOCABULARY, PhoneTokenizer, read_phones
from pipeline.text.prepare import UnspeakableError, prepare_text

pytest.importorskip("hibari", reason="hibari-tts is not installed (requirements-dev.txt)")


@pytest.fixture(scope="module")
def tokenizer() -> PhoneTokenizer:
    return PhoneTokenizer()


def prepared(text: str, tokenizer: PhoneTokenizer, glossary: str = "", **options):
    return prepare_text(
        text, TextNormalizer(Glossary.parse(glossary), phones=True), tokenizer, language="en", **options
    )


@pytest.mark.parametrize(
    ("cmu", "phones"),
    [("W ER1 D", "wˈɜɹd"), ("DH AH0", "ðə"), ("CH AY1 . L D", "ʧˈIld"), ("W AO1 T ER0", "wˈɔTəɹ")],
)
def test_cmu_phones_become_the_models(cmu, phones):
    assert phones_of(cmu) == phones


@pytest.mark.parametrize("wrong", ["W ER3 D", "QX", "B1", "W3"])
def test_what_is_no_cmu_phone_is_named(wrong):
    with pytest.raises(ValueError, match="is no CMU phone; allowed: B, CH"):
        phones_of(wrong)


def test_what_does_not_look_like_an_annotation_is_text():
    assert find_annotations("a <b> c|d> <e|f> <|W ER1 D> 1 < 2 | 3 > 2") == []


@pytest.mark.parametrize(
    ("text", "glossary"),
    [
        ("Say <gif|JH IH1 F> twice.", ""),
        ("Say gif twice.", "gif=<gif|JH IH1 F>"),
        ("Say gif twice.", "gif=jiff"),
    ],
)
def test_the_writer_overrules_the_reader(text, glossary, tokenizer):
    (segment,) = prepared(text, tokenizer, glossary)
    assert "▁ʤˈɪf▁" in segment.pieces.replace(" ", "")
    assert "▁ɡˈɪf▁" in prepared("Say gif twice.", tokenizer)[0].pieces
    assert "ˈ" in segment.pieces and UNKNOWN not in segment.pieces


def test_an_annotation_shows_its_word_and_its_writing(tokenizer):
    (segment,) = prepared("It costs $5, <Nguyen|W IH1 N> said.", tokenizer)
    assert segment.text == "It costs five dollars, Nguyen said."
    assert segment.written == "It costs $5, Nguyen said."
    assert "wˈɪn" in segment.pieces


@pytest.mark.parametrize(("word", "phones"), [("naïve", "nIˈiv"), ("café", "kæfˈA"), ("NASA", "nˈæsə")])
def test_accents_and_acronyms_are_read(word, phones):
    assert read_phones(word) == phones


def test_initialisms_are_spelled_and_shouting_is_not():
    assert read_phones("the FBI") == "ði ˌɛfbˌiˈI"
    assert read_phones("CLOSE THE DOOR.") == read_phones("close the door.")


@pytest.mark.parametrize(
    "heteronym", [("I will record it.", "It is a record."), ("They live here.", "A live show.")]
)
def test_heteronyms_go_by_their_part_of_speech(heteronym):
    verb, other = (read_phones(text) for text in heteronym)
    word = {"rec": ("ɹəkˈɔɹd", "ɹˈɛkəɹd"), "liv": ("lˈɪv", "lˈIv")}[
        "rec" if "record" in heteronym[0] else "liv"
    ]
    assert word[0] in verb and word[1] in other


@pytest.mark.parametrize(
    "text",
    [
        "x" * 300,
        "brrr hmm pfft shh",
        "See https://example.com/a/b?c=1&d=2#e or mail me@example.org.",
        "7 8 9",
        "Zzyzx Xochitl Ng.",
        "Øresund, Łódź, Čapek.",
        "a" * (LONGEST_WORD + 1),
    ],
)
def test_every_word_has_phones(text, tokenizer):
    segments = prepared(text, tokenizer)
    assert all(segment.unknown == 0 and segment.pieces for segment in segments)
    for segment in segments:
        assert all(0 <= token < len(VOCABULARY) for token in segment.token_ids)
        assert tokenizer.unknown_id not in segment.token_ids


def test_other_scripts_are_refused_or_counted(tokenizer):
    with pytest.raises(UnspeakableError, match="in the model's vocabulary"):
        prepared("你好世界", tokenizer)
    (segment,) = prepared("Hello 你好 there.", tokenizer)
    assert segment.unknown > 0 and segment.text.startswith("Hello")


def test_words_in_other_letters_are_told(tokenizer):
    first, second = prepared(
        "Привет, как дела? " + "Hello there, naïve <café|K AE0 F EY1>, Łódź. " * 8, tokenizer
    )[:2]
    assert first.notes == (
        "not in Latin letters, so guessed at or left out: Привет как дела; the model speaks English",
    )
    assert second.notes == ()
    (many,) = prepared("Hello " + "ёж " * 7, tokenizer)
    assert "ёж ёж ёж ёж ёж and 2 more;" in many.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "It is a rainy day. We stay at home, and read $5 books — <aloud|AH0 L AW1 D>, of course!",
        "STOP. " + "y" * 80 + ". Then 3 more.",
    ],
)
def test_parts_have_their_own_text(text, tokenizer):
    segments = prepared(text, tokenizer, max_segment_tokens=24)
    assert len(segments) > 2
    (whole,) = prepared(text, tokenizer, max_segment_tokens=1000)
    assert "".join(s.text for s in segments).replace(" ", "") == whole.text.replace(" ", "")
    assert "".join(s.pieces for s in segments) == whole.pieces
    letters = [[c for s in some for c in s.written if c.isalnum()] for some in (segments, [whole])]
    assert letters[0] == letters[1]


def test_the_letters_are_those_of_the_vocabulary():
    assert len(set(VOCABULARY)) == len(VOCABULARY)
