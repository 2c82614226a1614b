"""Waves to bytes of an audio format while they are made: what comes before the end does not wait for it.

Axes: T samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

import numpy as np
import soxr

from pipeline.child_environment import child_environment
from service.audio_output.encode import FORMATS, SAMPLE_RATES, OutputError, output_rate

PCM_RATE = 24000  # what the API says of pcm
READ_BYTES = 65536
UNKNOWN = 0xFFFFFFFF  # length of a WAV file that is not over yet
MAX_PCM = np.iinfo(np.int16).max
BITEXACT = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")
# What ffmpeg writes to a pipe; an index that is written last (Xing) cannot be.
ENCODERS = {
    "mp3": {**FORMATS["mp3"].options, "write_xing": 0},
    "opus": {**FORMATS["opus"].options, "page_duration": 200_000},
    "aac": {"f": "adts", "c:a": "aac", "b:a": "96k"},
    "flac": {"f": "flac", "c:a": "flac", "sample_fmt": "s16"},
}
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
RESPONSE_FORMATS = tuple(MEDIA_TYPES)


def rate_of(format: str, sample_rate: int | None, rate: int) -> int:
    """The rate of a file, as `output_rate` has it; pcm has one of its own."""
    if format == "pcm":
        return sample_rate or PCM_RATE
    if format in FORMATS:
        return output_rate(format, sample_rate, rate)
    return sample_rate or next(possible for possible in SAMPLE_RATES if possible >= rate)


async def encode(
    waves: AsyncIterator[np.ndarray], rate: int, format: str, sample_rate: int | None = None
) -> AsyncIterator[bytes]:
    """Waves [T] of one sound at `rate` Hz, float32 in [-1, 1], as bytes of `format`, in pieces as they are there.

    The same waves give the same bytes. Raises OutputError when ffmpeg is missing or fails."""
    target = rate_of(format, sample_rate, rate)
    pieces = pcm(waves, rate, target)
    if format in ENCODERS:
        pieces = through_ffmpeg(pieces, target, format)
    elif format == "wav":
        pieces = headed(wav_header(target), pieces)
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece


async def pcm(waves: AsyncIterator[np.ndarray], rate: int, target: int) -> AsyncIterator[bytes]:
    """16-bit samples of the waves, resampled as one."""
    stream = soxr.ResampleStream(rate, target, 1, dtype="float32") if rate != target else None
    async for wave in waves:
        yield samples(stream.resample_chunk(wave) if stream else wave)
    if stream:
        yield samples(stream.resample_chunk(np.zeros(0, np.float32), last=True))


async def headed(header: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The header with the first piece: they go the same way at the same time."""
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield header + piece
            header = b""
    if header:
        yield header


def samples(wave: np.ndarray) -> bytes:
    return (wave.clip(-1, 1) * MAX_PCM).round().astype("<i2").tobytes()


def wav_header(rate: int) -> bytes:
    """Of 16-bit mono whose length is not known yet."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", UNKNOWN, b"WAVE") + form + struct.pack("<4sI", b"data", UNKNOWN)


async def through_ffmpeg(pieces: AsyncIterator[bytes], rate: int, format: str) -> AsyncIterator[bytes]:
    options = [text for name, value in ENCODERS[format].items() for text in (f"-{name}", str(value))]
    command = [
        *(
            "ffmpeg",
            "-hide_banner",
            "-loglevel",
            "error",
            "-probesize",
            "32",
            "-f",
            "s16le",
            "-ar",
            str(rate),
        ),
        *("-ac", "1", "-i", "pipe:0", *options, *BITEXACT, "-threads", "1", "-flush_packets", "1", "pipe:1"),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(),
        )
    except FileNotFoundError as e:
        raise OutputError(
            f"response_format {format} needs ffmpeg, which is not installed; wav and pcm do not"
        ) from e
    feeding = asyncio.create_task(feed(process.stdin, pieces))
    try:
        while data := await process.stdout.read(READ_BYTES):
            yield data
        await feeding
        if await process.wait():
            reason = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
            raise OutputError(
                f"the {format} stream could not be encoded ({(reason or ['no reason given'])[-1][:120]})"
            )
    finally:
        feeding.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def feed(pipe: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
    try:
        async for piece in pieces:
            pipe.write(piece)
            await pipe.drain()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the program has ended; its status says why
    finally:
        pipe.close()
