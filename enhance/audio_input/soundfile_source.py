"""Samples of a WAV, FLAC, Ogg Vorbis, MP3 or AIFF file, block by block, through libsndfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile

from enhance.audio_input.limits import AudioLimits, Header

BLOCK_FRAMES = 65_536
UNKNOWN_FRAMES = 2**62  # libsndfile says "unknown" with the largest count there is
STREAMED_WAV_BYTES = {0x7FFFF000, 0xFFFFFFFF}  # `data` sizes of sox and ffmpeg where they cannot seek back
MAX_RIFF_CHUNKS = 64


class SoundfileSource:
    """An opened file: `header`, then `blocks()` of float32 [frames, channels]."""

    def __init__(self, file: soundfile.SoundFile, header: Header, limits: AudioLimits):
        self.header = header
        self._file = file
        self._limits = limits

    def blocks(self) -> Iterator[np.ndarray]:
        """The block is overwritten by the next."""
        buffer = np.empty((BLOCK_FRAMES, self.header.channels), np.float32)
        try:
            while len(block := self._file.read(out=buffer)):
                yield block
        except soundfile.LibsndfileError as e:
            raise self._limits.error("it is damaged or cut off") from e


@contextmanager
def open_soundfile(descriptor: int, name: str, limits: AudioLimits) -> Iterator[SoundfileSource]:
    """Open the file behind `descriptor` (left open), which begins like a `name`. Raises AudioError."""
    promise = _wav_promise(descriptor, limits)
    try:
        # By path: given a descriptor to leave open, libsndfile 1.2.0 closes it where opening fails.
        file = soundfile.SoundFile(f"/dev/fd/{descriptor}")
    except soundfile.LibsndfileError as e:
        raise limits.error(f"it is no readable {name} file") from e
    with file:
        frames = file.frames if 0 <= file.frames < UNKNOWN_FRAMES else None
        if frames is not None:
            frames = round(frames * promise)
        header = Header(file.format, file.subtype, file.samplerate, file.channels, frames)
        yield SoundfileSource(file, header, limits)


def _wav_promise(descriptor: int, limits: AudioLimits) -> float:
    """How many times more sample bytes a WAV header claims than the file holds; 1 for an honest or another file.

    libsndfile silently lowers the claim to what is there, which would hide a file that was cut off.
    """
    size = os.fstat(descriptor).st_size
    if os.pread(descriptor, 4, 0) != b"RIFF":
        return 1.0
    offset = 12
    for _ in range(MAX_RIFF_CHUNKS):
        chunk = os.pread(descriptor, 8, offset)
        if len(chunk) < 8:
            break
        offset += 8
        claimed = int.from_bytes(chunk[4:], "little")
        if chunk[:4] != b"data":
            offset += claimed + claimed % 2
            continue
        held = size - offset
        if claimed <= held or claimed in STREAMED_WAV_BYTES:
            break
        if claimed > limits.max_bytes:
            raise limits.error(f"its header claims {claimed} bytes of samples and the file has {size}")
        return claimed / held if held else 1.0
    return 1.0
