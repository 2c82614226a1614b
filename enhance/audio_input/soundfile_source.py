"""Samples of a WAV, FLAC, Ogg Vorbis, MP3, AIFF or AU file, block by block, through libsndfile."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import numpy as np
import soundfile

from enhance.audio_input.limits import AudioLimits, Header
from enhance.audio_input.mpeg import ID3_HEADER_BYTES, id3_end, mp3_layout
from enhance.audio_input.parts import BEGINNINGS, Layout, Part, PartFile, split
from enhance.audio_input.riff import wav_layout

BLOCK_FRAMES = 65_536
UNKNOWN_FRAMES = 2**62  # libsndfile says "unknown" with the largest count there is
FLOATING = ("FLOAT", "DOUBLE")


class SoundfileSource:
    """An opened file: `header`, then `blocks()` of float32 [frames, channels], as often as it is asked for.

    `notes`: what the user should know of the file, a sentence each."""

    def __init__(self, descriptor: int, name: str, layout: Layout, limits: AudioLimits):
        self._descriptor, self._name, self._limits = descriptor, name, limits
        self.notes = layout.notes
        self._parts: tuple[Part | None, ...] = layout.parts or (None,)
        with self._open(self._parts[0]) as file:
            frames = known_frames(file)
            claimed = None if frames is None or layout.claimed is None else round(frames * layout.claimed)
            floating = file.subtype in FLOATING
            self.header = Header(file.format, file.subtype, file.samplerate, file.channels, claimed, floating)
        if len(self._parts) > 1:
            self._join(frames)

    def _open(self, part: Part | None) -> soundfile.SoundFile:
        # By path: given a descriptor to leave open, libsndfile 1.2.0 closes it where opening fails.
        file = f"/dev/fd/{self._descriptor}" if part is None else PartFile(self._descriptor, part)
        try:
            return soundfile.SoundFile(file)
        except soundfile.LibsndfileError as e:
            raise self._limits.error(f"it is no readable {self._name} file") from e

    def _join(self, frames: int | None) -> None:
        """Add up the lengths of the parts that are like the first; the others are left out with a word."""
        kept, left = [self._parts[0]], 0
        for part in self._parts[1:]:
            try:
                with self._open(part) as file:
                    alike = (file.samplerate, file.channels) == (
                        self.header.sample_rate,
                        self.header.channels,
                    )
                    length = known_frames(file)
            except ValueError:
                alike, length = False, None
            if not alike:
                left += 1
                continue
            kept.append(part)
            frames = None if frames is None or length is None else frames + length
        self._parts = tuple(kept)
        self.header = self.header.of_length(frames)
        if left:
            self.notes += (
                f"Of the {len(kept) + left} recordings that are joined in this file, {left} cannot be read "
                "or have another sample rate or number of channels than the first, and are left out.",
            )

    def blocks(self) -> Generator[np.ndarray]:
        """The block is overwritten by the next."""
        buffer = np.empty((BLOCK_FRAMES, self.header.channels), np.float32)
        for part in self._parts:
            with self._open(part) as file:
                try:
                    while len(block := file.read(out=buffer)):
                        yield block
                except soundfile.LibsndfileError as e:
                    raise self._limits.error("it is damaged or cut off") from e


@contextmanager
def open_soundfile(descriptor: int, name: str, limits: AudioLimits) -> Iterator[SoundfileSource]:
    """Open the file behind `descriptor` (left open), which begins like a `name`. Raises AudioError."""
    yield SoundfileSource(descriptor, name, layout_of(descriptor, name, limits), limits)


def layout_of(descriptor: int, name: str, limits: AudioLimits) -> Layout:
    if name == "WAV":
        return wav_layout(descriptor, limits)
    if name == "MP3":
        return mp3_layout(descriptor)
    if name in BEGINNINGS:
        return split(descriptor, name, id3_end(os.pread(descriptor, ID3_HEADER_BYTES, 0)))
    return Layout()


def known_frames(file: soundfile.SoundFile) -> int | None:
    return file.frames if 0 <= file.frames < UNKNOWN_FRAMES else None
