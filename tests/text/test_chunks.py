"""Chunks join to the text, keep to the limit, and are cut at the best place within reach."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.chunks import sentence_chunks


@given(st.text(alphabet="ab5 .,!?。，'…", max_size=200), st.integers(1, 40))
def test_chunks_join_to_the_text(text, limit):
    chunks = list(sentence_chunks(text, limit))
    assert "".join(chunks) == text
    assert all(0 < len(chunk) <= limit for chunk in chunks)


def test_a_text_within_the_limit_is_one_chunk():
    assert list(sentence_chunks("One. Two. Three.", 16)) == ["One. Two. Three."]


def test_preferred_cuts():
    assert list(sentence_chunks("Aaaa bbbb. Cccc, dddd eeee", 18)) == ["Aaaa bbbb.", " Cccc, dddd eeee"]
    assert list(sentence_chunks("Aaaa bbbb cc, dddd eeee", 18)) == ["Aaaa bbbb cc,", " dddd eeee"]
    assert list(sentence_chunks("Aaaa bbbb cc dddd eeee", 18)) == ["Aaaa bbbb cc dddd ", "eeee"]
    assert list(sentence_chunks("a" * 25, 10)) == ["a" * 10, "a" * 10, "a" * 5]


def test_abbreviations_and_numbers_are_not_sentence_ends():
    assert list(sentence_chunks("Aaaa bb with Dr. Smith ccc", 20)) == [
        "Aaaa bb with Dr. ",
        "Smith ccc",
    ]  # at a space
    assert list(sentence_chunks("aaaaaaaaaaa 1,234.56 bbbb", 20)) == ["aaaaaaaaaaa ", "1,234.56 bbbb"]
