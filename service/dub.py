"""A track for subtitles: every cue spoken from its start on, pressed to its length where it is too long.

Axes: T samples.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pysubs2
import soundfile
import torch
from torch import Tensor

from service.finish.shape import limit_peak
from service.fit import DurationError
from service.request import MIN_DURATION, Request
from service.result import Result

MAX_CUES = 10_000
MAX_SECONDS = 6 * 3600.0  # of a track: 2 GB of samples as they are added up
Speak = Callable[[Request, Path], Result]


@dataclass(frozen=True)
class Cue:
    """start, end: seconds from the start of the track."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Dubbed:
    """A cue as it was spoken. seconds: that it lasts; natural: that it would by itself; problem: why it does not fit,
    or was not spoken; None where it fits."""

    cue: Cue
    seconds: float
    natural: float
    problem: str | None = None


def read_cues(path: Path) -> list[Cue]:
    """The cues of a subtitle file (SubRip, WebVTT, ASS), in the order of their starts.

    Raises ValueError for a file that cannot be read or has none, and for times that cannot be."""
    try:
        events = pysubs2.load(str(path), encoding="utf-8-sig").events
    except (OSError, UnicodeDecodeError, pysubs2.exceptions.Pysubs2Error, ValueError) as e:
        raise ValueError(f"the subtitles '{path.name}' cannot be read: {str(e).splitlines()[0][:80]}") from e
    cues = [
        Cue(event.start / 1000, event.end / 1000, " ".join(event.plaintext.split()))
        for event in events
        if not event.is_comment and event.plaintext.strip()
    ]
    if not 1 <= len(cues) <= MAX_CUES:
        raise ValueError(f"the subtitles '{path.name}' have {len(cues)} cues; allowed: 1 to {MAX_CUES:,}")
    for number, cue in enumerate(cues, 1):
        if not 0 <= cue.start < cue.end <= MAX_SECONDS:
            raise ValueError(
                f"cue {number} is from {cue.start:g} to {cue.end:g} s; allowed: in order, 0 to {MAX_SECONDS:g}"
            )
    return sorted(cues, key=lambda cue: cue.start)


def speak_cues(speak: Speak, cues: Sequence[Cue], request: Request) -> Iterator[tuple[Dubbed, Tensor, int]]:
    """Each cue with its wave [T] and rate, spoken as `request` says but for its text: as it comes where that fits
    between its start and its end, else in exactly that time, else as fast as it can be.

    A cue that cannot be spoken at all is silent, and says why."""
    for cue in cues:
        asked, room = dataclasses.replace(request, text=cue.text), cue.end - cue.start
        problem = None
        try:
            wave, rate = heard(speak, asked)
            natural = len(wave) / rate
            if natural > room:
                try:
                    wave, rate = heard(speak, dataclasses.replace(asked, duration=max(MIN_DURATION, room)))
                except DurationError as e:
                    wave, rate = heard(speak, dataclasses.replace(asked, duration=e.shortest))
                    problem = f"needs {e.shortest:.2f} s at its fastest, has {room:.2f} s"
        except ValueError as e:
            yield Dubbed(cue, 0.0, 0.0, str(e)), torch.zeros(0), 0
            continue
        yield Dubbed(cue, len(wave) / rate, natural, problem), wave, rate


def heard(speak: Speak, request: Request) -> tuple[Tensor, int]:
    """The wave [T] of a request, and its rate."""
    with tempfile.TemporaryDirectory(prefix="indextts-dub-") as folder:
        samples, rate = soundfile.read(speak(request, Path(folder)).path, dtype="float32")
    return torch.from_numpy(samples), rate


def make_track(speak: Speak, cues: Sequence[Cue], request: Request) -> tuple[Tensor, int, list[Dubbed]]:
    """(wave [T], rate, what became of each cue): the track is as long as its last cue or what is said in it.

    What is too long for its cue sounds together with the next. Raises ValueError when no cue could be spoken."""
    made = list(speak_cues(speak, cues, request))
    rate = max(rate for _, _, rate in made)
    if not rate:
        raise ValueError(f"no cue could be spoken; the first: {made[0][0].problem}")
    ends = [
        max(round(told.cue.end * rate), round(told.cue.start * rate) + len(wave)) for told, wave, _ in made
    ]
    track = torch.zeros(max(ends))
    for told, wave, _ in made:
        start = round(told.cue.start * rate)
        track[start : start + len(wave)] += wave
    return limit_peak(track), rate, [told for told, _, _ in made]
