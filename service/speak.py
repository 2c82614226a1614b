"""What a spoken segment is, its seed, and what is said of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.synthesize import Delivery, SegmentAudio, Synthesizer
from pipeline.text.prepare import TextSegment
from service.finish.checks import SegmentLimits
from service.finish.segment import Finished
from service.request import MAX_SEED

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

ATTEMPTS = 2
TOO_LITTLE_MEMORY = (
    "the device has too little memory for this request; lower segment_tokens, max_mel_tokens or num_beams, or use a "
    "shorter reference"
)
MAX_SHOWN_SIGNS = 40  # characters of signs that are not read, in a warning
SHOWN_TAIL_SECONDS = 0.05  # shorter cuts off a tail are not worth a word


@dataclass(frozen=True)
class Spoken:
    """One segment of the result: its text as spoken and as written, the voice that its markup asked for, finished wave
    [T], number of codes, the seed that makes it again as the first segment of a request, whether it ended by itself,
    whether the model's samples were finite, what is wrong with it, and its pieces."""

    text: str
    wave: Tensor
    codes: int
    seed: int
    stopped: bool
    finite: bool
    warnings: tuple[str, ...]
    written: str = ""
    voice: str | None = None
    pieces: str = ""


def segment_seed(seed: int, index: int, attempt: int = 0) -> int:
    """Seed of an attempt at a segment: a function of the request's seed and of its place alone. The first
    segment's is the request's own, so a segment is made again alone by a request with its text and seed."""
    if index == 0 and attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}/{attempt}".encode()).digest()[:8], "big") % (
        MAX_SEED + 1
    )


def limits_of(synthesizer: Synthesizer) -> SegmentLimits:
    pace = synthesizer.model.config.pace
    return SegmentLimits(pace.min_seconds_per_token, pace.max_seconds_per_token)


def notes_of(text: TextSegment, finished: Finished) -> list[str]:
    """What was not read of a segment, and what was cut off it."""
    notes = []
    if text.unknown:
        notes.append(f"{text.unknown} of its tokens are not in the model's vocabulary")
    notes += text.notes
    if text.lost:
        signs = " ".join(dict.fromkeys(text.lost))
        notes.append(f"nothing is read for {signs[:MAX_SHOWN_SIGNS]}")
    if finished.trimmed_seconds >= SHOWN_TAIL_SECONDS:
        notes.append(f"{finished.trimmed_seconds:.2f} s of noise were cut off its end")
    return notes


def told(
    text: TextSegment, wave: Tensor, audio: SegmentAudio, finite: bool, index: int, lines: Sequence[str]
) -> Spoken:
    """A segment and what is to be said of it."""
    warnings = tuple(f"segment {index + 1}: {line}" for line in dict.fromkeys(lines))
    return Spoken(
        text.text,
        wave,
        audio.codes,
        audio.seed,
        audio.stopped,
        finite,
        warnings,
        text.written,
        text.voice,
        text.pieces,
    )


def with_less_memory(
    synthesizer: Synthesizer, make: Callable[[Delivery], Made], delivery: Delivery, notes: list[str]
) -> Made:
    """`make(delivery)`; when the device's memory does not suffice, it is freed and tried once more with one beam,
    which `notes` tell. Raises ValueError when that fails as well."""
    try:
        return make(delivery)
    except torch.OutOfMemoryError:
        pass
    free_memory(synthesizer)  # outside the handler, whose traceback holds the tensors
    notes.append(trying_with_one_beam(delivery.options.num_beams))
    try:
        return make(delivery.with_one_beam())
    except torch.OutOfMemoryError as e:
        raise ValueError(TOO_LITTLE_MEMORY) from e


def trying_with_one_beam(beams: int) -> str:
    """What is to be told of a segment that is made with one beam, for want of memory with `beams`; the log
    says so now."""
    logger.warning("out of memory on the device: trying with one beam")
    if beams > 1:
        return f"the device had too little memory for {beams} beams, it was made with one"
    return "the device ran out of memory, it was made at the second try"


def free_memory(synthesizer: Synthesizer) -> None:
    """Give the device what is kept between segments."""
    synthesizer.free()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
