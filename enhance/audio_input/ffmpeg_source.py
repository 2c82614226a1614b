"""Samples of any other audio container, block by block, through ffmpeg in a child process that is held short.

The child reads the already opened file on its standard input, by one named demuxer, with only the file and
pipe protocols and limits on address space and wall clock; what decodes has audio decoders only.
"""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress

import ffmpeg
import numpy as np

from enhance.audio_input.limits import AudioError, AudioLimits, Header
from pipeline.child_environment import child_environment

INPUT = "file:/dev/stdin"  # opened anew, so that it can seek: MP4 may keep its index at the end
PROTOCOLS = "file,pipe"
CODECS = ",".join(
    (
        "aac,aac_latm,aac_fixed,alac,mp1,mp1float,mp2,mp2float,mp3,mp3float,ac3,eac3,flac",
        "opus,libopus,vorbis,libvorbis,speex,libspeex,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb",
        "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be",
        "pcm_alaw,pcm_mulaw,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms",
    )
)
READ_BYTES = 2**18
REASON_BYTES = 4096  # of the child's messages, the last are kept
REASON_CHARACTERS = 120  # of the last line of them
ESTIMATING_DEMUXERS = {"amr", "aac"}  # no length in these files: ffprobe guesses one from the bit rate
FLOAT_BYTES = 4
CLOCK = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")


class FfmpegSource:
    """A probed file: `header`, then `blocks()` of float32 [frames, channels], as often as it is asked for."""

    def __init__(self, descriptor: int, demuxer: str, header: Header, limits: AudioLimits, deadline: float):
        self.header = header
        self.notes: tuple[str, ...] = ()
        self._descriptor = descriptor
        self._demuxer = demuxer
        self._limits = limits
        self._deadline = deadline

    def blocks(self) -> Generator[np.ndarray]:
        stream = ffmpeg.input(
            INPUT, f=self._demuxer, protocol_whitelist=PROTOCOLS, codec_whitelist=CODECS, threads=1
        ).output(
            "pipe:1",
            map="0:a:0",
            f="f32le",
            acodec="pcm_f32le",
            ar=self.header.sample_rate,
            ac=self.header.channels,
            t=self._limits.max_seconds + 1,  # one more than allowed, so that too long is seen
        )
        command = stream.global_args("-nostdin", "-hide_banner", "-loglevel", "error").compile()
        frame_bytes = FLOAT_BYTES * self.header.channels
        rest = b""
        with closing(_output(command, self._descriptor, self._limits, self._deadline)) as pieces:
            for piece in pieces:
                rest += piece
                whole = len(rest) - len(rest) % frame_bytes
                if whole:
                    yield np.frombuffer(rest[:whole], "<f4").reshape(-1, self.header.channels)
                    rest = rest[whole:]


@contextmanager
def open_ffmpeg(
    descriptor: int, demuxer: str, limits: AudioLimits, deadline: float
) -> Iterator[FfmpegSource]:
    """Probe the file behind `descriptor` (left open), until a `deadline`. Raises AudioError."""
    yield FfmpegSource(descriptor, demuxer, _probe(descriptor, demuxer, limits, deadline), limits, deadline)


def _probe(descriptor: int, demuxer: str, limits: AudioLimits, deadline: float) -> Header:
    entries = (
        "stream=codec_name,sample_rate,channels,duration,start_time:stream_tags=DURATION"
        ":format=format_name,duration,nb_streams"
    )
    command = [
        "ffprobe",
        "-hide_banner",
        "-loglevel",
        "error",
        "-protocol_whitelist",
        PROTOCOLS,
        "-f",
        demuxer,
        "-select_streams",
        "a:0",
        "-show_entries",
        entries,
        "-of",
        "json",
        INPUT,
    ]
    answer = json.loads(b"".join(_output(command, descriptor, limits, deadline)) or b"{}")
    if not answer.get("streams"):
        raise limits.error("it holds no audio stream")
    stream, container = answer["streams"][0], answer.get("format", {})
    rate, channels = int(stream.get("sample_rate", 0)), int(stream.get("channels", 0))
    seconds = None if demuxer in ESTIMATING_DEMUXERS else _declared_seconds(stream, container)
    frames = None if seconds is None else round(seconds * rate)
    name, codec = container.get("format_name", demuxer), stream.get("codec_name", "unknown")
    return Header(name, codec, rate, channels, frames, floating=codec.startswith("pcm_f"))


def _declared_seconds(stream: dict, container: dict) -> float | None:
    """Length of the sound, None where the file does not say: its own may be the length of its video."""
    if "duration" in stream:
        return float(stream["duration"])
    if tag := CLOCK.fullmatch(stream.get("tags", {}).get("DURATION", "")):  # Matroska: when the stream ends
        hours, minutes, seconds = map(float, tag.groups())
        return max(0.0, 3600 * hours + 60 * minutes + seconds - float(stream.get("start_time", 0)))
    if container.get("nb_streams") == 1 and "duration" in container:
        return float(container["duration"])
    return None


def _output(command: list[str], descriptor: int, limits: AudioLimits, deadline: float) -> Generator[bytes]:
    """Standard output of `command`, piece by piece; AudioError if it fails or is not done by `deadline`."""
    try:
        process = subprocess.Popen(
            command, stdin=descriptor, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment()
        )
    except FileNotFoundError as e:
        raise AudioError(f"audio file refused: {command[0]} is not installed and this format needs it") from e
    assert process.stdout and process.stderr, "both are pipes"
    reason = b""
    try:
        _limit_memory(process.pid, limits.decoder_bytes)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise limits.error(f"it was not decoded within {limits.decode_seconds:g} s")
                for key, _ in ready:
                    piece = os.read(key.fd, READ_BYTES)
                    if not piece:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        reason = (reason + piece)[-REASON_BYTES:]
                    else:
                        yield piece
        if process.wait():
            raise limits.error(f"it cannot be decoded (ffmpeg: {_last_line(reason)})")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _last_line(messages: bytes) -> str:
    """The last thing ffmpeg said, without a "[demuxer @ 0x55d0c0ffee00] " or the input's name before it."""
    lines = messages.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return re.sub(r"^\[[^]]*\] *", "", lines[-1]).removeprefix(f"{INPUT}: ")[:REASON_CHARACTERS]


def _limit_memory(pid: int, size: int) -> None:
    """Set from outside, as code between fork and exec is unsafe where there are threads. macOS has no such
    call.
    """
    if hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, resource.RLIMIT_AS, (size, size))
