"""Words said against words heard: how many are wrong, which were left out, which came twice.

Both sides go through OpenAI's English normalizer, the one the Whisper papers measure with (numbers to digits,
contractions written out, British spellings to American); the alignment is jiwer's.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer


@dataclass(frozen=True)
class Comparison:
    """errors: substitutions, deletions and insertions; words: of the text that should be heard."""

    errors: int
    words: int
    left_out: tuple[str, ...]
    said_twice: tuple[str, ...]


@functools.cache
def _normalizer() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return [word for word in _normalizer()(text).split() if any(letter.isalnum() for letter in word)]


def compare(said: str, heard: str) -> Comparison:
    """Align what a recognizer heard with what should have been said. ValueError if `said` holds no word.

    Said twice is an inserted run of words that also stands right before or right after it."""
    wanted, found = words(said), words(heard)
    if not wanted:
        raise ValueError(f"'{said}' holds no word to compare")
    if not found:
        return Comparison(len(wanted), len(wanted), tuple(wanted), ())
    output = jiwer.process_words(" ".join(wanted), " ".join(found))
    left_out: list[str] = []
    twice: list[str] = []
    for chunk in output.alignments[0]:
        if chunk.type == "delete":
            left_out += wanted[chunk.ref_start_idx : chunk.ref_end_idx]
        elif chunk.type == "insert":
            start, end = chunk.hyp_start_idx, chunk.hyp_end_idx
            run = found[start:end]
            if run in (found[max(0, start - len(run)) : start], found[end : end + len(run)]):
                twice += run
    errors = output.substitutions + output.deletions + output.insertions
    return Comparison(errors, len(wanted), tuple(left_out), tuple(twice))


def word_error_rate(comparisons: Iterable[Comparison]) -> float:
    """Errors over all words of all texts. ValueError if there is nothing to compare."""
    comparisons = list(comparisons)
    if not comparisons:
        raise ValueError("a word error rate needs one text or more")
    return sum(one.errors for one in comparisons) / sum(one.words for one in comparisons)
