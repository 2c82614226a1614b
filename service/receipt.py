"""What a synthesis did: as JSON, and its segments as subtitles (SubRip, WebVTT).

Times are seconds from the start of the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SECONDS_DIGITS = 4  # of times in JSON: finer than a sample of speech needs
# SubRip has no way to escape what players take for tags ("<i>", "{\an8}"): characters that look alike stand in.
SRT_TEXT = str.maketrans("<>{}", "‹›❴❵")
VTT_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class SegmentReceipt:
    """One segment. text: as it was spoken; written: as it was written, which subtitles show; start, end: of its sound,
    in seconds; seed: makes it again alone; voice: that the text's markup asked for; pieces: what the model was
    given, phones where it reads phones."""

    index: int
    text: str
    start: float
    end: float
    codes: int
    seed: int
    warnings: tuple[str, ...] = ()
    written: str = ""
    voice: str | None = None
    pieces: str = ""


@dataclass(frozen=True)
class Receipt:
    """One synthesis. fingerprint: of the weights; adapter: sha256 of the adapter put beside them, or empty;
    precision: they were run in; text: normalized; timings: seconds by stage; real_time_factor: seconds it
    took per second of audio."""

    seed: int
    model: str
    fingerprint: str
    precision: str
    text: str
    segments: tuple[SegmentReceipt, ...]
    timings: Mapping[str, float]
    audio_seconds: float
    real_time_factor: float
    warnings: tuple[str, ...] = ()
    adapter: str = ""


def to_json(receipt: Receipt) -> str:
    """A JSON object with the fields' names, floats rounded. Raises ValueError for one that is not finite."""
    return (
        json.dumps(_plain(dataclasses.asdict(receipt)), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    )


def to_srt(segments: Sequence[SegmentReceipt]) -> str:
    """SubRip: a numbered cue per segment that sounds for at least 1 ms and has text; empty without any."""
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text.translate(SRT_TEXT)}\n"
        for number, (start, end, text) in enumerate(_cues(segments), 1)
    )
    return "\n".join(cues)


def to_vtt(segments: Sequence[SegmentReceipt]) -> str:
    """WebVTT with the same cues as `to_srt`."""
    cues = (
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{text.translate(VTT_TEXT)}\n"
        for start, end, text in _cues(segments)
    )
    return "WEBVTT\n" + "".join(cues)


def _cues(segments: Sequence[SegmentReceipt]) -> Iterator[tuple[int, int, str]]:
    """(start, end, text) of each cue: milliseconds, and one line without what UTF-8 cannot hold.

    Rounding to the nearest keeps the order of times: what does not overlap in samples does not here."""
    for segment in segments:
        if not (0 <= segment.start <= segment.end and math.isfinite(segment.end)):
            raise ValueError(
                f"segment {segment.index} is from {segment.start} to {segment.end} s;"
                " allowed: 0 or more, in order"
            )
        start, end = round(segment.start * 1000), round(segment.end * 1000)
        text = " ".join(
            _encodable(
                "".join(c if c.isprintable() else " " for c in segment.written or segment.text)
            ).split()
        )
        if text and end > start:
            yield start, end, text


def _clock(milliseconds: int, mark: str) -> str:
    """3723004 -> "01:02:03,004"."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{rest:03d}"


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, SECONDS_DIGITS)
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _encodable(text: str) -> str:
    """`text` with "?" for lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
