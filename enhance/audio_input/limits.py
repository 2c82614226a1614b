"""What an audio file may be, and the one error that says it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


class AudioError(ValueError):
    """An audio file that is not taken: one line with what is wrong and what is allowed."""


@dataclass(frozen=True)
class AudioLimits:
    """Limits of a read; the header's claims are held to them before anything is decoded."""

    max_bytes: int = 25_000_000
    min_rate: int = 8_000
    max_rate: int = 192_000
    max_channels: int = 8
    min_seconds: float = 0.1
    max_seconds: float = 600.0
    padding_seconds: float = 0.2  # over max_seconds, for what lossy codecs add at both ends
    max_peak: float = 8.0  # full scale is 1; float files go over it, damaged ones far over it
    decode_seconds: float = 4.5  # wall clock, header to last sample
    decoder_bytes: int = 768 * 2**20  # address space of an ffmpeg child

    def most_frames(self, sample_rate: int) -> int:
        """Samples per channel of the longest file taken."""
        return math.floor((self.max_seconds + self.padding_seconds) * sample_rate)

    def describe(self) -> str:
        return (
            "allowed: WAV, FLAC, OGG, MP3, AIFF, M4A/MP4, WebM, Opus, AMR, AAC, CAF or AU of at most "
            f"{self.max_bytes / 1e6:g} MB, {self.min_rate}-{self.max_rate} Hz, "
            f"1-{self.max_channels} channels, {self.min_seconds:g}-{self.max_seconds:g} s"
        )

    def error(self, reason: str) -> AudioError:
        """The error for `reason`, with what is allowed after it, on one line."""
        return AudioError(f"audio file refused: {' '.join(reason.split())}; {self.describe()}")


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded."""

    format: str  # "WAV", "mov,mp4,m4a,3gp,3g2,mj2" …
    subtype: str  # "PCM_16", "aac" …
    sample_rate: int
    channels: int
    frames: int | None  # per channel; None: the file does not say
    floating: bool = False  # its samples are floating point numbers: they may go over full scale

    def of_length(self, frames: int | None) -> Header:
        return replace(self, frames=frames)

    def check(self, limits: AudioLimits) -> None:
        if not limits.min_rate <= self.sample_rate <= limits.max_rate:
            raise limits.error(f"its sample rate is {self.sample_rate} Hz")
        if not 1 <= self.channels <= limits.max_channels:
            raise limits.error(f"it has {self.channels} channels")
        if self.frames is not None and self.frames > limits.most_frames(self.sample_rate):
            raise limits.error(f"its header says {self.frames / self.sample_rate:.1f} s")
