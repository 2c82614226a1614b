"""A text that remembers, character by character, which written characters it comes from."""

import re
from array import array
from collections.abc import Callable, Mapping


class Aligned:
    """`text`, and for each of its characters the span `starts[i]` to `ends[i]` of the written text it stands
    for.
    """

    def __init__(self, text: str, starts: array | None = None, ends: array | None = None) -> None:
        self.text = text
        self.starts = array("l", range(len(text))) if starts is None else starts
        self.ends = array("l", range(1, len(text) + 1)) if ends is None else ends

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> "Aligned":
        return Aligned(self.text[part], self.starts[part], self.ends[part])

    def written(self, start: int, end: int) -> tuple[int, int]:
        """The written span of the characters `start` to `end`; (0, 0) for none."""
        if start >= end:
            return (0, 0)
        return min(self.starts[start:end]), max(self.ends[start:end])

    def translated(self, table: Mapping[int, str]) -> "Aligned":
        """As `str.translate`, for tables whose values are strings."""
        return self.edited([(i, i + 1, table[ord(c)]) for i, c in enumerate(self.text) if ord(c) in table])

    def sub(self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> "Aligned":
        """As `re.sub`; a match that a function returns unchanged keeps the alignment of its characters."""
        edits = []
        for match in pattern.finditer(self.text):
            new = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            if new != match[0]:
                edits.append((match.start(), match.end(), new))
        return self.edited(edits)

    def edited(self, edits: list[tuple[int, int, str]]) -> "Aligned":
        """With each (start, end, replacement) done; `edits` are in order and do not overlap."""
        if not edits:
            return self
        pieces: list[tuple[int, int, str | None]] = []
        last = 0
        for start, end, new in edits:
            pieces += [(last, start, None), (start, end, new)]
            last = end
        return self._rebuilt([*pieces, (last, len(self.text), None)])

    def _rebuilt(self, pieces: list[tuple[int, int, str | None]]) -> "Aligned":
        texts: list[str] = []
        starts, ends = array("l"), array("l")
        for start, end, new in pieces:
            if new is None or (end - start == 1 and len(new) == 1):
                texts.append(self.text[start:end] if new is None else new)
                starts.extend(self.starts[start:end])
                ends.extend(self.ends[start:end])
            elif new:
                first, last = self.written(start, end)
                if start == end:  # an insertion stands for the empty span where it is made
                    first = last = self.ends[start - 1] if start else 0
                texts.append(new)
                starts.extend([first] * len(new))
                ends.extend([last] * len(new))
        return Aligned("".join(texts), starts, ends)
