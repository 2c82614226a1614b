"""A spoken text as the model of many languages wants it: in its case, Japanese in words; and cut into tagged
segments."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.text.aligned import Aligned
from pipeline.text.cutting import cut
from pipeline.text.multilingual import MultilingualTokenizer, kept_ids, prefix

if TYPE_CHECKING:
    import fugashi

_LOWER, _UPPER = ("zh", "en", "ja"), ("es",)
_SPECIAL = re.compile(r"<\|SPECIAL_TOKEN_\d+\|>[^<>|]*<\|SPECIAL_TOKEN_\d+\|>|<\|[^<>|\s]+\|>")
_RUN = re.compile("[^ ]+")
_SPACES = re.compile(" {2,}")


@dataclass(frozen=True)
class TaggedPart:
    """A segment: its text, where it is in the prepared text, and its tokens behind the language's tag."""

    text: str
    start: int
    end: int
    token_ids: list[int]


def prepared(spoken: Aligned, language: str) -> Aligned:
    """`spoken` in the case of its language, Japanese with a space between its words; annotations stay as they are."""
    change = str.lower if language in _LOWER else str.upper if language in _UPPER else None
    if change is not None:
        edits = []
        for start, end in _plain_spans(spoken.text):
            edits += [
                (index, index + 1, change(character))
                for index, character in enumerate(spoken.text[start:end], start)
                if change(character) != character
            ]
        spoken = spoken.edited(edits)
    return in_words(spoken) if language == "ja" else spoken


def in_words(spoken: Aligned) -> Aligned:
    """Japanese with one space between words, and around annotations. Raises ValueError where the analyser is
    missing."""
    places = set()
    for start, end in _plain_spans(spoken.text):
        places |= {start, end} - {0, len(spoken.text)}
        for run in _RUN.finditer(spoken.text, start, end):
            place = run.start()
            words = [word.surface for word in analyser()(run[0])]
            if "".join(words) != run[0]:  # a sign that the analyser drops
                continue
            for word in words[:-1]:
                place += len(word)
                places.add(place)
    blank = {place for place in places if " " in spoken.text[max(place - 1, 0) : place + 1]}
    return spoken.edited([(place, place, " ") for place in sorted(places - blank)])


@functools.cache
def analyser() -> fugashi.Tagger:
    """MeCab with the dictionary that the model was trained with."""
    try:
        import fugashi
        import unidic_lite  # noqa: F401  the dictionary
    except ImportError as error:
        raise ValueError(f"Japanese needs the package {error.name} (requirements-2.5.txt)") from error
    return fugashi.Tagger()


def tagged_parts(
    text: str, tokenizer: MultilingualTokenizer, language: str, max_tokens: int, quick_start_tokens: int
) -> list[TaggedPart]:
    """`text`, prepared, in segments of at most `max_tokens` tokens with their tags. Raises ValueError for a limit that
    leaves no room beside the tag."""
    room = max_tokens - len(tokenizer.encode(prefix(language)))
    spans = cut(text, lambda part: len(tokenizer.encode(part)), room, quick_start_tokens=quick_start_tokens)
    return [
        TaggedPart(text[start:end], start, end, kept_ids(tokenizer.tagged(text[start:end], language)))
        for start, end in spans
    ]


def _plain_spans(text: str) -> list[tuple[int, int]]:
    """What lies between special tokens and annotations."""
    spans, last = [], 0
    for match in _SPECIAL.finditer(text):
        spans.append((last, match.start()))
        last = match.end()
    return [(start, end) for start, end in [*spans, (last, len(text))] if start < end]
