"""Where in a file its recordings lie: people join files by writing one after the other, and headers lie.

A decoder reads the first recording up to where its header says. Here each recording becomes a `Part` that is
decoded by itself, under a header that is true.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass

MAX_PARTS = 1000
SCAN_BYTES = 2**20
SCAN_OVERLAP = 64  # longer than any pattern
# How a recording of each kind begins, closely enough that samples do not.
BEGINNINGS = {
    "FLAC": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    "OGG": re.compile(rb"OggS\x00\x02.{20}\x01.\x01vorbis", re.DOTALL),
    "AIFF": re.compile(rb"FORM.{4}AIF[FC](?:COMM|FVER)", re.DOTALL),
    "WAV": re.compile(rb"(?:RIFF|RF64|BW64).{4}WAVE(?:fmt |JUNK|bext|LIST|ds64)", re.DOTALL),
}


@dataclass(frozen=True)
class Part:
    """`head`, and then `length` bytes of the file from `offset` on."""

    offset: int
    length: int
    head: bytes = b""


@dataclass(frozen=True)
class Layout:
    """What to decode of a file.

    parts: in order; empty: the file as it is, as one
    claimed: how many times more samples its header claims than there are; None: the header cannot be believed
    notes: what the user should know of it, a sentence each
    """

    parts: tuple[Part, ...] = ()
    claimed: float | None = 1.0
    notes: tuple[str, ...] = ()


class PartFile(io.RawIOBase):
    """A part as a file of its own, for libsndfile. Reads by position: the descriptor is shared."""

    def __init__(self, descriptor: int, part: Part):
        self._descriptor, self._part = descriptor, part
        self._size = len(part.head) + part.length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        head = self._part.head[self._position : self._position + wanted]
        data = head or os.pread(
            self._descriptor, wanted, self._part.offset + self._position - len(self._part.head)
        )
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def find(descriptor: int, kind: str, start: int, end: int) -> int | None:
    """Where from `start` on, and before `end`, a recording of this kind begins."""
    for offset in range(start, end, SCAN_BYTES):
        block = os.pread(descriptor, min(SCAN_BYTES + SCAN_OVERLAP, end - offset), offset)
        if match := BEGINNINGS[kind].search(block):
            return offset + match.start()
    return None


def split(descriptor: int, kind: str, start: int) -> Layout:
    """A file whose first recording is at `start` and whose recordings are told apart by how they begin."""
    starts, size = [start], os.fstat(descriptor).st_size
    while len(starts) < MAX_PARTS and (other := find(descriptor, kind, starts[-1] + 1, size)) is not None:
        starts.append(other)
    return joined([Part(a, b - a) for a, b in zip(starts, [*starts[1:], size], strict=True)])


def joined(parts: list[Part], claimed: float | None = 1.0, notes: tuple[str, ...] = ()) -> Layout:
    """The layout of several recordings; of one that needs nothing, the file as it is."""
    if len(parts) == 1 and not parts[0].head and not parts[0].offset:
        parts = []
    if len(parts) >= MAX_PARTS:
        notes = (*notes, f"The file holds over {MAX_PARTS} recordings; the rest is not read.")
    return Layout(tuple(parts), claimed, notes)
