"""The recordings in a WAV file, found by walking its chunks and not believing them.

Recorders and pipes leave lengths of 0 or the largest there is, forget the byte that fills up an odd chunk,
and put their files one behind another. libsndfile lowers a claim to what is there without a word, misses what
lies beyond one, and loses its way after an odd chunk. A part made here has a short true header: format, fact,
data.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from enhance.audio_input.limits import AudioLimits
from enhance.audio_input.parts import MAX_PARTS, Layout, Part, find, joined

MAX_CHUNKS = 1024
PLAIN = {
    b"fmt ",
    b"fact",
    b"data",
    b"ds64",
}  # libsndfile looks into others, and gives up a file for what it finds
MAX_FORMAT_BYTES = 4096
MAGIC = (b"RIFF", b"RF64", b"BW64")
COMMON = {
    b"data",
    b"fmt ",
    b"fact",
    b"LIST",
    b"JUNK",
    b"junk",
    b"bext",
    b"cue ",
    b"smpl",
    b"id3 ",
    b"ID3 ",
    b"PEAK",
}
COMMON |= {b"PAD ", b"FLLR", b"iXML", b"_PMX", b"inst", b"cart", b"axml", b"chna", b"plst", b"LGWV", b"afsp"}
TRAILERS = (b"TAG", b"APETAGEX", b"ID3", bytes(8))
REST_BYTES = 4096  # less than this after the samples is not worth a word
# Lengths that stand for "not known": the ends of the signed and the unsigned range less a header, and what
# some programs write beforehand.
SIGNED, UNSIGNED = range(0x7FFF0000, 2**31), range(0xFFFF0000, 2**32)
UNKNOWN = {0, 2_000_000_000, 2**64 - 1}


@dataclass
class Wav:
    """One recording of a file. `end`: where its samples end; `claimed`: as `Layout` has it."""

    format: bytes = b""
    fact: bytes = b""
    data: int = 0  # where the samples begin; 0: not found
    end: int = 0
    claimed: float | None = 1.0
    honest: bool = True  # libsndfile reads it as it is
    note: str = ""

    def part(self) -> Part:
        length = self.end - self.data
        chunks = chunk(b"fmt ", self.format) + (chunk(b"fact", self.fact) if self.fact else b"")
        start = b"RIFF" + struct.pack("<I", 4 + len(chunks) + 8 + length) + b"WAVE"
        return Part(self.data, length, start + chunks + b"data" + struct.pack("<I", length))


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def wav_layout(descriptor: int, limits: AudioLimits) -> Layout:
    """What to decode of a WAV file. Raises AudioError for a claim that no file of this size can hold."""
    return Walk(descriptor, limits).layout()


class Walk:
    def __init__(self, descriptor: int, limits: AudioLimits):
        self.descriptor, self.limits = descriptor, limits
        self.size = os.fstat(descriptor).st_size

    def bytes(self, offset: int, count: int) -> bytes:
        return os.pread(self.descriptor, count, offset)

    def layout(self) -> Layout:
        found: list[Wav] = []
        start, notes = 0, []
        while self.starts(start) and len(found) < MAX_PARTS:
            wav = self.recording(start)
            if not wav.data or not wav.format:
                break  # the decoder says what is wrong with a first one
            found.append(wav)
            start = self.after(wav.end)
        if not found:
            return Layout()
        notes = [wav.note for wav in found if wav.note]
        if self.size - start >= REST_BYTES and len(found) < MAX_PARTS and not self.trailer(start):
            notes.append(
                f"After the samples that its header names, the file holds {self.size - start} more bytes, "
                "which are not read."
            )
        claimed = found[0].claimed if len(found) == 1 else 1.0
        if len(found) == 1 and found[0].honest and self.size - found[0].end <= 1:
            return Layout((), claimed, tuple(notes))
        return joined([wav.part() for wav in found], claimed, tuple(notes))

    def starts(self, offset: int) -> bool:
        head = self.bytes(offset, 12)
        return head[:4] in MAGIC and head[8:] == b"WAVE"

    def recording(self, start: int) -> Wav:
        """The recording whose header is at `start`."""
        magic, riff = struct.unpack("<4sI", self.bytes(start, 8))
        wav, offset, wide = Wav(honest=magic != b"BW64"), start + 12, None
        riff_end = start + 8 + riff
        for _ in range(MAX_CHUNKS):
            head = self.bytes(offset, 8)
            if len(head) < 8 or head[:4] in MAGIC:
                break
            name, claimed, body = head[:4], int.from_bytes(head[4:], "little"), offset + 8
            if name == b"ds64":
                sizes = self.bytes(body, 16)
                wide = int.from_bytes(sizes[8:], "little")
                riff_end = start + 8 + int.from_bytes(sizes[:8], "little")
            elif name == b"fmt " and not wav.format:
                wav.format = self.bytes(body, min(claimed, MAX_FORMAT_BYTES))
                wav.honest &= not wav.data
            elif name == b"fact":
                wav.fact = self.bytes(body, min(claimed, MAX_FORMAT_BYTES))
            elif name == b"data" and not wav.data:
                wav.data = body
                self.measure(wav, wide if wide is not None and claimed in UNSIGNED else claimed, riff_end)
                if wav.format:
                    break
                claimed = wav.end - body
            offset, padded = self.next(body, claimed)
            wav.honest &= padded and name in PLAIN
        return wav

    def next(self, body: int, length: int) -> tuple[int, bool]:
        """Where the chunk after this one begins, and whether it is where the format says."""
        end = body + length
        if length % 2 and not self.known(end + 1):
            if self.known(end):
                return end, False
            if not self.plausible(end + 1) and self.plausible(end):
                return end, False
        return end + length % 2, True

    def known(self, offset: int) -> bool:
        return self.bytes(offset, 4) in COMMON or self.starts(offset)

    def plausible(self, offset: int) -> bool:
        """Whether a chunk begins there: a printable name and a length that fits."""
        head = self.bytes(offset, 8)
        fits = len(head) == 8 and offset + 8 + int.from_bytes(head[4:], "little") <= self.size
        return fits and head[:4].isascii() and head[:4].decode("ascii").isprintable()

    def trailer(self, offset: int) -> bool:
        return self.bytes(offset, 8).startswith(TRAILERS)

    def goes_on(self, offset: int) -> bool:
        """Whether a file may go on so after its samples: with nothing, a chunk, a tag, another recording."""
        if self.size - offset < 8 or self.trailer(offset):
            return True
        return self.known(offset) or self.plausible(offset)

    def measure(self, wav: Wav, claimed: int, riff_end: int) -> None:
        """Find the end of the samples at `wav.data`."""
        held = self.size - wav.data
        wav.end = wav.data + min(claimed, held)
        if claimed in UNKNOWN or claimed in SIGNED or claimed in UNSIGNED:
            if claimed == 0 and (not held or self.goes_on(wav.data)):
                return
            if claimed == 0 and riff_end == wav.data:
                raise self.limits.error(
                    f"both lengths in its header say that it holds 0 samples, and {held} bytes follow: the "
                    "recording was not finished"
                )
            self.to_the_end(wav)
        elif claimed > held:
            if claimed >= 2**31:
                raise self.limits.error(
                    f"its header claims {claimed} bytes of samples and the file has {self.size}"
                )
            self.cut_off(wav, claimed, held)
        elif riff_end > wav.end + 8 and not (self.goes_on(wav.end) or self.goes_on(wav.end + claimed % 2)):
            # The length of the whole says that more follows, and what follows is no chunk: it is samples.
            self.to_the_end(wav)
            wav.note = (
                f"The header names {claimed} bytes of samples; {wav.end - wav.data} are there, "
                "and all of them are read."
            )

    def to_the_end(self, wav: Wav) -> None:
        """The samples last until another recording begins or the file ends."""
        other = find(self.descriptor, "WAV", wav.data, self.size)
        wav.end = self.size if other is None else other
        wav.claimed, wav.honest = None, False

    def cut_off(self, wav: Wav, claimed: int, held: int) -> None:
        """More is claimed than there is: a file that was cut off, if a file of that length could be sent."""
        rate, bytes_per_second = struct.unpack("<II", wav.format[4:12]) if len(wav.format) >= 12 else (0, 0)
        self.to_the_end(wav)
        whole = wav.end == self.size
        if (
            whole
            and claimed <= self.limits.max_bytes
            and claimed <= self.limits.max_seconds * bytes_per_second
        ):
            wav.claimed, wav.honest = (claimed / held if held else 1.0), True
        elif whole and held:
            wav.note = (
                f"The header names {claimed} bytes of samples; {held} are there, and all of them are read."
            )

    def after(self, end: int) -> int:
        """Past the chunks that follow samples which end at `end`: another recording, a rest, or the end."""
        offset = end
        if not self.starts(offset) and not self.known(offset) and self.goes_on(offset + 1):
            offset += 1  # the byte that fills up an odd chunk, whether or not it was needed
        for _ in range(MAX_CHUNKS):
            if self.starts(offset) or not self.plausible(offset):
                break
            offset, _ = self.next(offset + 8, int.from_bytes(self.bytes(offset + 4, 4), "little"))
        return offset
