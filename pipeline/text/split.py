"""Cutting a long text into segments that the model can speak in one go."""

from pipeline.text.tokenize import WORD_START

# A segment may end after one of these pieces, and after a quote that follows it.
_MARKS = frozenset(".!?…,-—") | frozenset(WORD_START + mark for mark in ".!?…,")
_QUOTES = frozenset({"'", WORD_START + "'"})
# A segment this short is a crumb where a cut by length made it: it is spoken badly.
_CRUMB_TOKENS = 2
# An even cut moves to a word start at most this fraction of the limit away: far enough for any word at
# the usual 120 tokens, too short to make a new crumb.
_REACH = 8

Span = tuple[int, int]  # first piece, piece after the last


def split_segments(pieces: list[str], max_tokens: int, quick_start_tokens: int = 0) -> list[list[str]]:
    """`pieces` in order, in non-empty segments of at most `max_tokens` that join to `pieces`.

    Cut after sentence marks, commas and hyphens; what is still too long is cut by length; then
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
        spans.extend(zip([start, *inner], [*inner, end]))
    joined = _join(spans, max_tokens, quick_start_tokens)
    return [pieces[start:end] for start, end in _without_crumbs(joined, cuts, pieces, max_tokens)]


def _marked_spans(pieces: list[str]) -> list[Span]:
    """The spans between marks, each mark and the quote after it with what it ends."""
    ends = []
    for index, piece in enumerate(pieces):
        if piece in _MARKS:
            quoted = index + 1 < len(pieces) and pieces[index + 1] in _QUOTES
            ends.append(index + 1 + quoted)
    if pieces and (not ends or ends[-1] != len(pieces)):
        ends.append(len(pieces))
    return list(zip([0, *ends], ends))


def _length_cuts(pieces: list[str], start: int, end: int, max_tokens: int) -> list[int]:
    """Where to cut the span so that every part fits.

    Up to twice the limit the first part is full, as in the published splitter; longer spans, where that
    one leaves a crumb after every part, are cut evenly.
    """
    count = -(-(end - start) // max_tokens)
    if count <= 2:
        return [start + max_tokens] if count == 2 else []
    cuts: list[int] = []
    for part in range(1, count):
        earliest = end - (count - part) * max_tokens
        latest = (cuts[-1] if cuts else start) + max_tokens
        even = start + (end - start) * part // count
        cuts.append(_word_cut(pieces, even, earliest, latest, reach=max_tokens // _REACH))
    return cuts


def _word_cut(pieces: list[str], wanted: int, earliest: int, latest: int, reach: int) -> int:
    """The word start nearest to `wanted`, at most `reach` away and within the bounds; else `wanted`, bounded."""
    wanted = min(max(wanted, earliest), latest)
    for distance in range(reach + 1):
        for cut in (wanted - distance, wanted + distance):
            if earliest <= cut <= latest and pieces[cut].startswith(WORD_START):
                return cut
    return wanted


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
    """Each crumb left by a cut by length shares evenly with the segment before it."""
    evened: list[Span] = []
    for start, end in spans:
        if start in cuts and end - start <= _CRUMB_TOKENS:
            first, _ = evened.pop()
            start = _word_cut(
                pieces, (first + end) // 2, end - max_tokens, first + max_tokens, reach=max_tokens // _REACH
            )
            evened.append((first, start))
        evened.append((start, end))
    return evened
