"""From a request's text to the token segments the model speaks, with every unusable text refused in words."""

import dataclasses
import logging
from dataclasses import dataclass

from pipeline.text.annotations import without_annotations
from pipeline.text.characters import is_speakable
from pipeline.text.multilingual import MultilingualTokenizer, language_row, prefix
from pipeline.text.normalize import Reading, TextNormalizer
from pipeline.text.phones import foreign_words
from pipeline.text.plain import shown
from pipeline.text.pronunciations import without_pronunciations
from pipeline.text.split import split_segments
from pipeline.text.tagged import prepared, tagged_parts
from pipeline.text.tokenize import TextTokenizer

log = logging.getLogger(__name__)

MAX_CHARACTERS = 20_000
MAX_SEGMENT_TOKENS = 120
SHOWN_WORDS = 5


class UnspeakableError(ValueError):
    """A text without anything that can be read aloud."""


@dataclass(frozen=True)
class TextSegment:
    """A part of a text to speak.

    text: as it is spoken, of the normalized text (case and spaces as there); unknown: how many of its tokens
    to be read the model does not know; written: as it was written, without markup; lost: signs that nothing
    reads; language_row: its language's, where the model has such rows; voice, emotion: what the markup before
    it asks for, None for the request's own; notes: what could not be read as asked; pieces: what the model is
    given.
    """

    text: str
    token_ids: list[int]
    unknown: int = 0
    written: str = ""
    lost: tuple[str, ...] = ()
    language_row: int | None = None
    voice: str | None = None
    emotion: str | None = None
    notes: tuple[str, ...] = ()
    pieces: str = ""


def prepare_text(
    text: str,
    normalizer: TextNormalizer,
    tokenizer: TextTokenizer | MultilingualTokenizer,
    *,
    language: str = "auto",
    max_segment_tokens: int = MAX_SEGMENT_TOKENS,
    quick_start_tokens: int = 0,
    max_characters: int = MAX_CHARACTERS,
) -> list[TextSegment]:
    """`text` normalized, tokenized and cut; at least one segment, each with something to speak.

    Raises ValueError, in one line without the text itself, for what is not a string, is empty, longer
    than `max_characters`, or (UnspeakableError) holds nothing that can be read aloud or that the tokenizer
    knows. Some unknown tokens are a warning that counts them.
    """
    check_text(text, max_characters)
    reading = normalizer.read(text, language)
    normalized = reading.spoken
    if not is_speakable(normalized):
        raise UnspeakableError(
            "the text holds nothing to read aloud (only punctuation, symbols, emoji or control characters);"
            " give at least one word or number"
        )

    if isinstance(tokenizer, MultilingualTokenizer):
        return _tagged_segments(text, reading, tokenizer, max_segment_tokens, quick_start_tokens)
    pieces = tokenizer.pieces(normalized)
    _check_known(pieces, tokenizer)
    parts = split_segments(pieces, max_segment_tokens, quick_start_tokens)
    segments: list[TextSegment] = []
    lost, told = list(reading.lost), 0
    unknown = 0  # of a part that is left out: the next one's, or the last one's
    for part, (part_text, start, end) in zip(parts, tokenizer.texts(parts, normalized), strict=True):
        known = _known(part, tokenizer)
        unknown += sum(map(is_speakable, part)) - known
        if known:
            first, last = reading.written_span(start, end)
            signs = tuple(sign for place, sign in lost if place < last)
            lost = lost[len(signs) :]
            written = shown(text[max(first, told) : last])  # a form cut in two is told once
            notes: tuple[str, ...] = ()
            if normalizer.phones:
                written, notes = without_annotations(written), _foreign(part_text)
            told = max(told, last)
            segments.append(
                TextSegment(
                    part_text, tokenizer.ids(part), unknown, written, signs, notes=notes, pieces="".join(part)
                )
            )
            unknown = 0
    if unknown or lost:
        segments[-1] = dataclasses.replace(
            segments[-1],
            unknown=segments[-1].unknown + unknown,
            lost=segments[-1].lost + tuple(sign for _, sign in lost),
        )
    return segments


def _tagged_segments(
    text: str, reading: Reading, tokenizer: MultilingualTokenizer, max_tokens: int, quick_start_tokens: int
) -> list[TextSegment]:
    """The segments of a reading for a model that knows every character."""
    spoken = prepared(reading.aligned, reading.language)
    segments: list[TextSegment] = []
    lost, notes, told = list(reading.lost), list(reading.notes), 0
    parts = tagged_parts(spoken.text, tokenizer, reading.language, max_tokens, quick_start_tokens)
    parts = [part for part in parts if is_speakable(part.text)]
    for part in parts:
        last = len(text) if part is parts[-1] else max(spoken.written(part.start, part.end)[1], told)
        signs = tuple(sign for place, sign in lost if place < last)
        here = tuple(note.text for note in notes if note.place < last)
        lost, notes = lost[len(signs) :], notes[len(here) :]
        segments.append(
            TextSegment(
                part.text.strip(),
                part.token_ids,
                written=shown(without_pronunciations(text[told:last])),
                lost=signs,
                language_row=language_row(reading.language),
                notes=here,
                pieces=prefix(reading.language) + part.text,
            )
        )
        told = last
    return segments


def check_text(text: str, max_characters: int = MAX_CHARACTERS) -> None:
    """Raises ValueError for what is not a string, is longer than `max_characters`, empty or all white space."""
    if not isinstance(text, str):
        raise ValueError(f"the text is of type {type(text).__name__}; it must be a string")
    if not text:
        raise ValueError("the text is empty; give at least one word")
    if len(text) > max_characters:
        raise ValueError(f"the text has {len(text):,} characters; at most {max_characters:,} are allowed")
    if text.isspace():
        raise ValueError(f"the text is {len(text):,} characters of white space; give at least one word")


def _foreign(text: str) -> tuple[str, ...]:
    """What is to be said of words that a model of English phones can only guess at."""
    words = foreign_words(without_annotations(text))
    if not words:
        return ()
    more = f" and {len(words) - SHOWN_WORDS} more" if len(words) > SHOWN_WORDS else ""
    shown_words = " ".join(words[:SHOWN_WORDS]) + more
    return (f"not in Latin letters, so guessed at or left out: {shown_words}; the model speaks English",)


def _known(pieces: list[str], tokenizer: TextTokenizer) -> int:
    """How many of `pieces` hold letters or digits and are in the vocabulary."""
    speakable = tokenizer.ids([piece for piece in pieces if is_speakable(piece)])
    return len(speakable) - speakable.count(tokenizer.unknown_id)


def _check_known(pieces: list[str], tokenizer: TextTokenizer) -> None:
    total = sum(map(is_speakable, pieces))
    unknown = total - _known(pieces, tokenizer)
    if unknown == total:
        raise UnspeakableError(
            f"none of the text's {total:,} tokens is in the model's vocabulary;"
            " write in a language it speaks (a glossary can give readings for other words)"
        )
    if unknown:
        log.warning("%d of %d tokens are not in the model's vocabulary", unknown, total)
