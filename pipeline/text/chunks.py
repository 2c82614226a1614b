"""Cutting long text into sentence-sized chunks, because the grammars take more than linear time."""

import re
from collections.abc import Iterator

# Long enough for any sentence that needs its context, short enough that the worst input found
# (a run of hyphens) reads at the speed of ordinary text.
CHUNK_CHARACTERS = 240

# In order of preference. A period must end a word of three letters ("Dr. Smith", "No. 5" and "p.m." stay
# whole) and, like the ASCII comma, be followed by a space ("3.5", "1,000").
_ENDS = tuple(
    re.compile(pattern)
    for pattern in (r"(?:[。！？!?…]|(?<=\w\w\w)\.(?=[' ]))'?", r"[，；、]|[,;:](?= )", r" ")
)


def sentence_chunks(text: str, limit: int = CHUNK_CHARACTERS) -> Iterator[str]:
    """`text` in order, in chunks of at most `limit` characters that join to `text`.

    Each is cut at the last sentence end in the second half of the limit, else at a clause, else at a
    space, else at the limit.
    """
    start = 0
    while len(text) - start > limit:
        window = text[start : start + limit]
        cut = next((end for pattern in _ENDS if (end := _last_end(pattern, window)) > limit // 2), limit)
        yield window[:cut]
        start += cut
    if start < len(text):
        yield text[start:]


def _last_end(pattern: re.Pattern[str], window: str) -> int:
    return max((match.end() for match in pattern.finditer(window)), default=0)
