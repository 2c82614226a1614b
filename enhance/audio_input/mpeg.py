"""The recordings in an MP3 file, found by walking its frames (ISO 11172-3, 13818-3).

A file of several MP3s is decoded only as far as the frame count at the start of the first says.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache

from enhance.audio_input.parts import MAX_PARTS, Layout, Part, joined

ID3_HEADER_BYTES = 10
ID3V1_BYTES, APE_HEADER_BYTES = 128, 32
RATES = (44_100, 48_000, 32_000)  # of version 1; halved for version 2, and again for 2.5
KBITS_1 = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
}
KBITS_2 = {
    1: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
}
LAYER_3, LAYER_1, VERSION_1, MONO = 1, 3, 3, 3
COUNT_FLAG = 1  # in a Xing header: the number of frames follows
FRAMES_BEYOND = 10  # so many frames after the counted ones are another recording, fewer a miscount
BIT_RATE_BITS, HIGHEST_BIT_RATE = 0xF0, 0xE0  # of the third byte of a header
MAX_STEPS = 100_000  # frames and false starts looked at; a file of the allowed length has far fewer


@dataclass(frozen=True)
class Header:
    """Of a frame. length: in bytes, with the header; kind: version, layer, rate, mono: what cannot change
    within a recording; side: bytes that describe the samples of layer III, after the header; 0 for other
    layers."""

    length: int
    kind: tuple[int, int, int, bool]
    side: int


def id3_end(head: bytes, offset: int = 0) -> int:
    """Where an ID3v2 tag that begins at `offset` ends; `offset` if none does."""
    tag = head[offset : offset + ID3_HEADER_BYTES]
    if len(tag) < ID3_HEADER_BYTES or tag[:3] != b"ID3" or max(tag[6:]) > 127:
        return offset
    size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
    return offset + ID3_HEADER_BYTES + size + (ID3_HEADER_BYTES if tag[5] & 0x10 else 0)


def mp3_layout(descriptor: int) -> Layout:
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    found = recordings(content)
    ends = [*(recording.start for recording in found[1:]), len(content)]
    return joined([recording.part(end) for recording, end in zip(found, ends, strict=True)])


@dataclass
class Recording:
    """What is known of a recording that begins at `start`."""

    start: int
    first: int = 0  # where its first frame is
    seen: int = 0  # frames of sound
    counted: int | None = None  # frames it says it has; -1: it has a place for that and does not say
    header: bytes = b""  # of its first frame of sound
    varies: bool = False  # in bit rate

    def part(self, end: int) -> Part:
        """libsndfile takes the length of one that does not count its frames from the bit rate of the first:
        where the rate varies, a frame with the count goes before it."""
        if not self.varies or self.counted is not None or self.header[1] >> 1 & 3 != LAYER_3:
            return Part(self.start, end - self.start)
        return Part(self.first, end - self.first, count_frame(self.header, self.seen))


def recordings(content: bytes) -> list[Recording]:
    """What the file holds, in order; the first begins at 0."""
    now, offset, kind = Recording(0), 0, None
    found = [now]
    begin = -1  # of a tag before the frame to come
    for _ in range(MAX_STEPS):
        if offset >= len(content) or len(found) >= MAX_PARTS:
            break
        frame = read_header(content, offset)
        if frame is None:
            end = tag_end(content, offset)
            if end > offset and content.startswith(b"ID3", offset):
                begin = offset
            offset = end if end > offset else resync(content, offset)
            continue
        counts = frame_count(content, offset, frame.side)
        changed = frame.kind != kind or now.seen == now.counted
        if now.seen and (begin >= 0 or counts is not None or (changed and lasts(content, offset))):
            now = Recording(begin if begin >= 0 else offset)
            found.append(now)
        begin, kind = -1, frame.kind
        if counts is not None:
            now.counted = counts
        else:
            if not now.seen:
                now.first, now.header = offset, content[offset : offset + 4]
            now.varies |= (content[offset + 2] ^ now.header[2]) & BIT_RATE_BITS > 0
            now.seen += 1
        offset += frame.length
    return found


def lasts(content: bytes, offset: int) -> bool:
    """Whether a run of frames begins there."""
    for _ in range(FRAMES_BEYOND):
        frame = read_header(content, offset)
        if frame is None:
            return False
        offset += frame.length
    return True


def tag_end(content: bytes, offset: int) -> int:
    """Where the tag that begins at `offset` ends; `offset` if none does."""
    start = content[offset : offset + APE_HEADER_BYTES]
    if start.startswith(b"TAG"):
        return offset + ID3V1_BYTES
    if start.startswith(b"APETAGEX") and len(start) == APE_HEADER_BYTES:
        is_header = start[23] & 0x20  # then the items follow; a footer comes after them
        return offset + APE_HEADER_BYTES + (int.from_bytes(start[12:16], "little") if is_header else 0)
    return id3_end(content, offset)


def resync(content: bytes, offset: int) -> int:
    """The next place where two frames of a kind follow one another, or the end."""
    for _ in range(MAX_STEPS):
        offset = content.find(b"\xff", offset + 1)
        if offset < 0:
            break
        first = read_header(content, offset)
        second = read_header(content, offset + first.length) if first else None
        if first and second and first.kind == second.kind:
            return offset
    return len(content)


@lru_cache(maxsize=1024)  # a file has a few headers, again and again
def parse_header(head: bytes) -> Header | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, mono = head[1] >> 3 & 3, head[1] >> 1 & 3, head[3] >> 6 == MONO
    bits, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 0 or bits in (0, 15) or rate_index == 3:
        return None
    rate = RATES[rate_index] >> {VERSION_1: 0, 2: 1, 0: 2}[version]
    kbits = (KBITS_1 if version == VERSION_1 else KBITS_2)[layer][bits]
    if layer == LAYER_1:
        length = (12_000 * kbits // rate + padding) * 4
    else:
        samples = 576 if layer == LAYER_3 and version != VERSION_1 else 1152
        length = samples * 125 * kbits // rate + padding
    side = 0
    if layer == LAYER_3:
        side = (17 if mono else 32) if version == VERSION_1 else (9 if mono else 17)
    return Header(length, (version, layer, rate, mono), side)


def read_header(content: bytes, offset: int) -> Header | None:
    return parse_header(content[offset : offset + 4])


def count_frame(header: bytes, frames: int) -> bytes:
    """A Xing frame that counts `frames`, for frames of layer III like the one with this header."""
    head = bytes((header[0], header[1] | 1, header[2] & ~(BIT_RATE_BITS | 2) | HIGHEST_BIT_RATE, header[3]))
    parsed = parse_header(head)
    assert parsed, "a header with another bit rate is one"
    body = head + bytes(parsed.side) + b"Xing" + COUNT_FLAG.to_bytes(4, "big") + frames.to_bytes(4, "big")
    return body.ljust(parsed.length, b"\0")


def frame_count(content: bytes, offset: int, side: int) -> int | None:
    """What the Xing, Info or VBRI frame at `offset` says; -1 if it is one and does not say; None for a frame
    of sound. `side`: as `Header` has it."""
    if not side:
        return None
    for start in (offset + 4 + side, offset + 6 + side):  # without and with a checksum
        if content.startswith((b"Xing", b"Info"), start):
            flags, count = struct.unpack(">II", content[start + 4 : start + 12].ljust(8, b"\0"))
            return count if flags & COUNT_FLAG else -1
    if content.startswith(b"VBRI", offset + 36):
        return int.from_bytes(content[offset + 50 : offset + 54], "big")
    return None
