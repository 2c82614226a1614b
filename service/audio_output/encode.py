"""A wave to a file: format, sample rate, loudness; the same bytes for the same samples.

WAV and FLAC are written by soundfile; the lossy formats by ffmpeg, because libsndfile draws a random serial
number for every Ogg stream. Axes: T samples.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ffmpeg
import torch
from torch import Tensor

from pipeline.audio import resample, write_pcm
from pipeline.child_environment import child_environment
from service.audio_output.loudness import MAX_TARGET, MIN_TARGET, to_loudness

__all__ = ["EncodedAudio", "FORMATS", "OutputError", "SAMPLE_RATES", "check_output", "encode", "output_rate"]

SAMPLE_RATES = (8000, 16000, 22050, 24000, 44100, 48000)
OPUS_RATES = (8000, 16000, 24000, 48000)  # of SAMPLE_RATES; a player is given 48000 for each of them
FULL_SCALE = 1.0
LOSSY_PEAK = 0.89  # -1 dB: what a decoder makes of a wave goes a little over the wave
ENCODE_SECONDS = 300.0  # wall clock; 20 minutes of speech take 16 s on busy cores


class OutputError(ValueError):
    """An output that cannot be written: one line with what is wrong and what is allowed."""


@dataclass(frozen=True)
class Format:
    """container: soundfile's name of it, None for ffmpeg with these options. peak: what a wave may reach."""

    rates: tuple[int, ...] = SAMPLE_RATES
    container: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    peak: float = FULL_SCALE


FORMATS: Mapping[str, Format] = {  # the name is also the file's suffix
    "wav": Format(container="WAV"),
    "flac": Format(container="FLAC"),
    "mp3": Format(options={"f": "mp3", "c:a": "libmp3lame", "q:a": 2, "id3v2_version": 0}, peak=LOSSY_PEAK),
    "ogg": Format(options={"f": "ogg", "c:a": "libvorbis", "q:a": 5}, peak=LOSSY_PEAK),
    "opus": Format(rates=OPUS_RATES, options={"f": "ogg", "c:a": "libopus", "b:a": "64k"}, peak=LOSSY_PEAK),
}


@dataclass(frozen=True)
class EncodedAudio:
    """sample_rate: of the samples that went in; loudness: in LUFS, where a target was given and it could be
    measured; notes: what could not be done as asked, in plain words."""

    path: Path
    sample_rate: int
    loudness: float | None
    notes: tuple[str, ...]


def check_output(*, format: str, sample_rate: int | None = None, loudness: float | None = None) -> None:
    """Raises OutputError unless `encode` takes these."""
    if not isinstance(format, str) or format not in FORMATS:
        raise OutputError(f"output_format is {str(format)[:20]!r}; allowed: {', '.join(FORMATS)}")
    rates = FORMATS[format].rates
    if sample_rate is not None and sample_rate not in rates:
        raise OutputError(f"sample_rate is {sample_rate}; allowed for {format}: {', '.join(map(str, rates))}")
    if loudness is not None and not MIN_TARGET <= loudness <= MAX_TARGET:
        raise OutputError(f"loudness is {loudness:g}; allowed: {MIN_TARGET:g} to {MAX_TARGET:g} LUFS")


def output_rate(format: str, sample_rate: int | None, rate: int) -> int:
    """The rate in Hz of a file: `sample_rate`; for None the wave's `rate`, or the next higher one the format
    can hold.
    """
    if sample_rate is not None:
        return int(sample_rate)
    rates = FORMATS[format].rates
    return next((possible for possible in rates if possible >= rate), rates[-1])


def encode(
    wave: Tensor,
    rate: int,
    stem: Path,
    *,
    format: str = "wav",
    sample_rate: int | None = None,
    loudness: float | None = None,
) -> EncodedAudio:
    """Write wave [T] at `rate` Hz to `stem` + "." + format, mono; nothing is clipped, what is over is scaled
    down.

    sample_rate in Hz: see `output_rate`. loudness: a target in LUFS, or None to leave it. Raises OutputError
    for what is not allowed, for an empty wave, for samples that are not finite, and when ffmpeg is missing or
    fails."""
    check_output(format=format, sample_rate=sample_rate, loudness=loudness)
    if not len(wave):
        raise OutputError("there is no audio to write: the wave is empty")
    if not torch.isfinite(wave).all():
        raise OutputError("the audio holds samples that are not finite numbers")
    kind, target_rate = FORMATS[format], output_rate(format, sample_rate, rate)
    lower = min(rate, target_rate)  # loudness is the same at the higher rate, and costs more there
    wave = resample(wave, rate, lower)
    reached: float | None = None
    notes: tuple[str, ...] = ()
    if loudness is not None:
        leveled = to_loudness(wave, lower, loudness)
        wave, reached, notes = leveled.wave, leveled.loudness, (leveled.note,) if leveled.note else ()
    wave = resample(wave, lower, target_rate)
    peak = float(wave.abs().max())
    if peak > kind.peak:
        wave = wave * (kind.peak / peak)
    path = stem.with_name(f"{stem.name}.{format}")
    if kind.container is not None:
        write_pcm(path, wave, target_rate, kind.container)
    else:
        _write_lossy(path, wave, target_rate, format)
    return EncodedAudio(path, target_rate, reached, notes)


def _write_lossy(path: Path, wave: Tensor, rate: int, format: str) -> None:
    stream = ffmpeg.input("pipe:0", f="f32le", ar=rate, ac=1)
    # bitexact: no version of ffmpeg in the file, and Ogg serial numbers that are counted instead of drawn
    stream = stream.output(
        f"file:{path.absolute()}",
        **FORMATS[format].options,
        ar=rate,
        ac=1,
        threads=1,
        map_metadata=-1,
        fflags="+bitexact",
        **{"flags:a": "+bitexact"},
    )
    command = stream.global_args("-hide_banner", "-loglevel", "error", "-y").compile()
    try:
        samples = wave.numpy().astype("<f4").tobytes()
        done = subprocess.run(
            command, input=samples, capture_output=True, timeout=ENCODE_SECONDS, env=child_environment()
        )
    except FileNotFoundError as e:
        raise OutputError(
            f"output_format {format} needs ffmpeg, which is not installed; wav and flac do not"
        ) from e
    except subprocess.TimeoutExpired as e:
        raise OutputError(f"the {format} file was not encoded within {ENCODE_SECONDS:g} s") from e
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise OutputError(
            f"the {format} file could not be encoded ({reason.rpartition(': ')[2]})"
        )  # the path is before it
