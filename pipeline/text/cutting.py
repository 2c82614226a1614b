"""Cutting a long prepared text into segments whose tokens fit, where a token is known only once the text around it is:
the counterpart of `pipeline.text.split` for byte-level BPE."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Never cut: an annotation between its special tokens, and a special token.
_WHOLE = re.compile(r"<\|SPECIAL_TOKEN_\d+\|>[^<>|]*<\|SPECIAL_TOKEN_\d+\|>|<\|[^<>|\s]+\|>")
_PUBLISHED_WHOLE = re.compile(r"<\|SPECIAL_TOKEN_\d+\|>.*?<\|SPECIAL_TOKEN_\d+\|>", re.DOTALL)
_SPACE = re.compile(r"\s")

LONGEST_CHARACTER = 4  # bytes, so as many tokens at most

Count = Callable[[str], int]  # of a text's tokens
Span = tuple[int, int]


@dataclass(frozen=True)
class Cuts:
    """Where a text may be cut: after `marks`, and where a part between those is too long, before spaces (else between
    any two letters); matches of `whole` never."""

    marks: str
    at_spaces: bool
    whole: re.Pattern[str]


MARKS = "，。！？、；：,.!?;:\n"
PUBLISHED = Cuts(MARKS, at_spaces=False, whole=_PUBLISHED_WHOLE)
WORDS = Cuts(MARKS + "…،؛؟", at_spaces=True, whole=_WHOLE)


def cut(text: str, count: Count, limit: int, cuts: Cuts = WORDS, quick_start_tokens: int = 0) -> list[Span]:
    """Spans of `text`, in order and without a gap, of at most `limit` tokens each (but what is never cut may
    have more).

    Parts between marks are joined from the left while they fit together; within the first `quick_start_tokens` tokens
    up to half of the limit. A text that fits as it is, is one span. Raises ValueError for a limit below 1."""
    if limit < 1:
        raise ValueError(f"max_tokens is {limit}; it must be at least 1")
    if not quick_start_tokens and count(text) <= limit:
        return [(0, len(text))]
    joined: list[Span] = []
    spoken = 0  # tokens of the spans that are done
    for start, end in _parts(text, count, limit, cuts):
        if joined:
            first, last = joined[-1]
            tokens = count(text[first:end])
            if tokens <= (limit // 2 if spoken + tokens <= quick_start_tokens else limit):
                joined[-1] = (first, end)
                continue
            spoken += count(text[first:last])
        joined.append((start, end))
    return joined or [(0, len(text))]


def _parts(text: str, count: Count, limit: int, cuts: Cuts) -> list[Span]:
    """The least parts: what is never cut, and what is between marks and fits."""
    spans: list[Span] = []
    last = 0
    for match in cuts.whole.finditer(text):
        spans += _plain(text, last, match.start(), count, limit, cuts)
        spans.append(match.span())
        last = match.end()
    return spans + _plain(text, last, len(text), count, limit, cuts)


def _plain(text: str, start: int, end: int, count: Count, limit: int, cuts: Cuts) -> list[Span]:
    spans: list[Span] = []
    marks = re.compile(f"[^{re.escape(cuts.marks)}]*(?:[{re.escape(cuts.marks)}]|$)")
    while start < end:
        mark = marks.match(text, start, end)
        stop = mark.end() if mark and mark.end() > start else end
        while count(text[start:stop]) > limit:
            length = _longest(text, start, stop, count, limit)
            if cuts.at_spaces:
                length = _before_a_space(text, start, length) or length
            spans.append((start, start + length))
            start += length
        if start < stop:
            spans.append((start, stop))
        start = stop
    return spans


def _longest(text: str, start: int, stop: int, count: Count, limit: int) -> int:
    """The characters from `start` on before the first that does not fit any more, at least one."""
    length = min(stop - start, max(1, limit // LONGEST_CHARACTER))
    while length < stop - start and count(text[start : start + length + 1]) <= limit:
        length += 1
    return length


def _before_a_space(text: str, start: int, length: int) -> int:
    """The characters up to the last space among them that a word precedes; 0 where there is none."""
    spaces = [match.start() for match in _SPACE.finditer(text, start + 1, start + length + 1)]
    return next((space - start for space in reversed(spaces) if not text[space - 1].isspace()), 0)
