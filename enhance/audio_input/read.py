"""Reading an audio file that a stranger sent: any common format in, mono samples or a one-line error out."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from enhance.audio_input.container import HEAD_BYTES, Container, sniff
from enhance.audio_input.ffmpeg_source import FfmpegSource, open_ffmpeg
from enhance.audio_input.limits import AudioError, AudioLimits
from enhance.audio_input.mixing import TURNED_OVER, even_weights, turned_over
from enhance.audio_input.mpeg import id3_end
from enhance.audio_input.soundfile_source import SoundfileSource, open_soundfile

__all__ = ["Audio", "AudioError", "AudioLimits", "read_audio"]

DEFAULT_LIMITS = AudioLimits()

CLIP_LEVEL = 0.999  # a sample at or over it is at full scale; 16-bit full scale is 0.99997
CUT_OFF_SECONDS = 0.25  # lossy codecs miss their promise by less


@dataclass(frozen=True)
class Audio:
    """A decoded file.

    samples: float32 [1, T], the mean of its channels, full scale ±1 (float files may go over it)
    sample_rate: Hz
    channels: of the file, before the mean
    source_format, source_subtype: container and encoding, as the decoder names them
    clipped_share: 0-1, samples of all channels at full scale
    declared_seconds: what the header promises; None where it does not say
    notes: what the user should know of how the file was read, a sentence each
    """

    samples: torch.Tensor
    sample_rate: int
    channels: int
    source_format: str
    source_subtype: str
    clipped_share: float
    declared_seconds: float | None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / self.sample_rate

    @property
    def cut_off(self) -> bool:
        """Whether the file ends clearly before the end its header promises."""
        return self.declared_seconds is not None and self.declared_seconds - self.seconds > CUT_OFF_SECONDS


def read_audio(path: str | os.PathLike, limits: AudioLimits = DEFAULT_LIMITS) -> Audio:
    """Read the regular file at `path`, whatever its name. Raises AudioError, a ValueError of one line.

    The format is told by content. Size and header are held to `limits` before decoding; what is decoded is
    held to them again, because headers lie. Time is bounded by `limits.decode_seconds`, memory by the longest
    file allowed.
    """
    deadline = time.monotonic() + limits.decode_seconds
    with _regular_file(path, limits) as descriptor:
        container = _container(descriptor)
        if container is None:
            raise limits.error("its content is no audio format that is known here")
        with _open_source(descriptor, container, limits, deadline) as source:
            source.header.check(limits)
            audio, powers = _collect(source, even_weights(source.header.channels), limits, deadline)
            weights = turned_over(powers)
            if weights is not None:
                del audio  # before the next one takes its room
                audio, _ = _collect(source, weights, limits, deadline)
                audio = replace(audio, notes=(*audio.notes, TURNED_OVER))
            return audio


def _container(descriptor: int) -> Container | None:
    """What the file is; of one that begins with a tag, what comes after the tag."""
    head = os.pread(descriptor, HEAD_BYTES, 0)
    behind = id3_end(head)
    return (behind and sniff(os.pread(descriptor, HEAD_BYTES, behind))) or sniff(head)


@contextmanager
def _regular_file(path: str | os.PathLike, limits: AudioLimits) -> Iterator[int]:
    """Descriptor of a regular file of allowed size. A link is not followed, a named pipe not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as e:  # ValueError: a null character in the path
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise limits.error(f"it cannot be opened as a regular file ({reason})") from e
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise limits.error("it is not a regular file")
        if status.st_size == 0:
            raise limits.error("it is empty (0 bytes)")
        if status.st_size > limits.max_bytes:
            raise limits.error(f"it has {status.st_size / 1e6:.1f} MB")
        yield descriptor
    finally:
        os.close(descriptor)


def _open_source(
    descriptor: int, container: Container, limits: AudioLimits, deadline: float
) -> AbstractContextManager[SoundfileSource | FfmpegSource]:
    if container.demuxer is None:
        return open_soundfile(descriptor, container.name, limits)
    return open_ffmpeg(descriptor, container.demuxer, limits, deadline)


def _collect(
    source: SoundfileSource | FfmpegSource, mean: np.ndarray, limits: AudioLimits, deadline: float
) -> tuple[Audio, np.ndarray]:
    """The file mixed by weights `mean` [C], and the power of each channel with each other [C, C]."""
    with closing(source.blocks()) as blocks:  # an error must not leave a decoder behind
        return _mix(source, blocks, mean, limits, deadline)


def _mix(
    source: SoundfileSource | FfmpegSource,
    blocks: Iterator[np.ndarray],
    mean: np.ndarray,
    limits: AudioLimits,
    deadline: float,
) -> tuple[Audio, np.ndarray]:
    header = source.header
    most = limits.most_frames(header.sample_rate)
    # Untouched pages cost no memory, so room for the longest file is free where the header does not say.
    mono = np.empty(most if header.frames is None else min(header.frames, most), np.float32)
    powers = np.zeros((header.channels, header.channels))
    frames = clipped = 0
    highest = 0.0
    for block in blocks:
        low, high = float(block.min()), float(block.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise limits.error("it holds samples that are not finite numbers (NaN or infinity)")
        peak = max(-low, high)
        if peak > limits.max_peak:
            raise limits.error(
                f"its samples reach {peak:.3g}, allowed is up to {limits.max_peak:g} (full scale is 1)"
            )
        highest = max(highest, peak)
        if peak >= CLIP_LEVEL:
            clipped += int(np.count_nonzero(np.abs(block) >= CLIP_LEVEL))
        if frames + len(block) > most:
            raise limits.error(f"it is longer than {limits.max_seconds:g} s, which its header does not say")
        if frames + len(block) > len(mono):
            mono.resize(most, refcheck=False)
        np.matmul(block, mean, out=mono[frames : frames + len(block)])
        powers += block.T @ block
        frames += len(block)
        if time.monotonic() > deadline:
            raise limits.error(f"it was not decoded within {limits.decode_seconds:g} s")
    if frames < limits.min_seconds * header.sample_rate:
        raise limits.error(f"it holds {frames} samples per channel, {frames / header.sample_rate:.3f} s")
    mono.resize(frames, refcheck=False)
    if header.floating and highest > 1:  # full scale is no ceiling where samples go over it
        clipped = 0
    audio = Audio(
        samples=torch.from_numpy(mono).unsqueeze(0),
        sample_rate=header.sample_rate,
        channels=header.channels,
        source_format=header.format,
        source_subtype=header.subtype,
        clipped_share=clipped / (frames * header.channels),
        declared_seconds=None if header.frames is None else header.frames / header.sample_rate,
        notes=source.notes,
    )
    return audio, powers
