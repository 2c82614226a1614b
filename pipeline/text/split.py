"""Cutting a long text into segments that the model can speak in one go."""

from itertools import pairwise

from pipeline.text.tokenize import WORD_START

# A segment may end after one of these pieces, and after the closing quotes that follow it.
_MARKS = frozenset(".!?…,-—") | frozenset(WORD_START + mark for mark in ".!?…,-")
_CLOSING_QUOTE = "'"  # one that opens starts a word
# A segment this short is a crumb where a cut by length made it: it is spoken badly.
_CRUMB_TOKENS = 2

Span = tuple[int, int]  # first piece, piece after the last


def split_segments(pieces: list[str], max_tokens: int, quick_start_tokens: int = 0) -> list[list[str]]:
    """`pieces` in order, in non-empty segments of at most `max_tokens` that join to `pieces`.

    Cut after sentence marks, commas and dashes that end a word; what is still too long is cut between two
    words, and inside a word only where one has more than `max_tokens` pieces; then
    neighbours are joined while they fit. Within the first `quick_start_tokens` pieces, neighbours are
    joined only up to half of `max_tokens`, so that the first segments are ready sooner.
    Linear time. Raises ValueError for a `max_tokens` below 1 or a negative `quick_start_tokens`.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; it must be at least 1")
    if quick_start_tokens < 0:
        raise ValueError(f"quick_start_tokens is {quick_start_tokens}; it must be at least 0")
    spans: list[Span] = []
    cuts: set[int] = set()  # where a length, not a mark, decided
    for start, end in _marked_spans(pieces):
        inner = _length_cuts(pieces, start, end, max_tokens)
        cuts.update(inner)
        spans.extend(pairwise([start, *inner, end]))
    joined = _join(spans, max_tokens, quick_start_tokens)
    evened = _without_crumbs(joined, cuts, pieces, max_tokens)
    return [pieces[start:end] for start, end in _join(evened, max_tokens, quick_start_tokens)]


def _marked_spans(pieces: list[str]) -> list[Span]:
    """The spans between marks, each mark and the closing quotes after it with what it ends."""
    ends = []
    index = 0
    while index < len(pieces):
        end = index + 1
        if pieces[index] in _MARKS:
            while end < len(pieces) and pieces[end] == _CLOSING_QUOTE:
                end += 1
            if end == len(pieces) or pieces[end].startswith(WORD_START):
                ends.append(end)
        index = end
    if pieces and (not ends or ends[-1] != len(pieces)):
        ends.append(len(pieces))
    return list(pairwise([0, *ends]))


def _length_cuts(pieces: list[str], start: int, end: int, max_tokens: int) -> list[int]:
    """Where to cut the span so that every part fits, between words.

    Up to twice the limit the first part is as full as its words allow, as in the published splitter; longer spans,
    where that one leaves a crumb after every part, are cut evenly.
    """
    if end - start <= max_tokens:
        return []
    if _CRUMB_TOKENS < end - start - max_tokens <= max_tokens:
        cut = _word_cut(pieces, start + max_tokens, start + 1, start + max_tokens)
        if cut is None:
            return [start + max_tokens]
        if end - cut <= max_tokens:
            return [cut]
    cuts: list[int] = []
    while end - start > max_tokens:
        parts = -(-(end - start) // max_tokens)
        even = start + -(-(end - start) // parts)
        start = _word_cut(pieces, even, start + 1, start + max_tokens) or start + max_tokens
        cuts.append(start)
    return cuts


def _word_cut(pieces: list[str], wanted: int, earliest: int, latest: int) -> int | None:
    """The word start nearest to `wanted` within the bounds; None if there is none."""
    wanted = min(max(wanted, earliest), latest)
    for distance in range(max(latest - wanted, wanted - earliest) + 1):
        for cut in (wanted - distance, wanted + distance):
            if earliest <= cut <= latest and pieces[cut].startswith(WORD_START):
                return cut
    return None


def _join(spans: list[Span], max_tokens: int, quick_start_tokens: int) -> list[Span]:
    """Neighbours joined, from the first on, while they fit."""
    joined: list[Span] = []
    for start, end in spans:
        limit = max_tokens // 2 if end <= quick_start_tokens else max_tokens
        if joined and end - joined[-1][0] <= limit:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _without_crumbs(spans: list[Span], cuts: set[int], pieces: list[str], max_tokens: int) -> list[Span]:
    """Each crumb left by a cut by length shares with the segment before it, as evenly as words allow."""
    evened: list[Span] = []
    for start, end in spans:
        if start in cuts and end - start <= _CRUMB_TOKENS:
            first, _ = evened.pop()
            middle = (first + end) // 2
            earliest, latest = max(end - max_tokens, first + 1), min(first + max_tokens, end - 1)
            inside = not pieces[start].startswith(WORD_START)  # of a word that is longer than a segment
            start = _word_cut(pieces, middle, earliest, latest) or (
                max(middle, earliest) if inside else start
            )
            evened.append((first, start))
        evened.append((start, end))
    return evened
