"""A whole text spoken: each segment made, checked, made again once if need be, and finished for joining."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.synthesize import Delivery, SegmentAudio, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Watch
from service.budget import SEGMENT
from service.finish.checks import SegmentLimits, check_segment
from service.finish.segment import Finished, finish_segment
from service.request import MAX_SEED

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

ATTEMPTS = 2
MAX_SHOWN_SIGNS = 40  # characters of signs that are not read, in a warning
SHOWN_TAIL_SECONDS = 0.05  # shorter cuts off a tail are not worth a word


@dataclass(frozen=True)
class Spoken:
    """One segment of the result: its text as spoken and as written, the voice that its markup asked for, finished wave [T], number of codes, the seed that makes it
    again as the first segment of a request, whether it ended by itself, whether the model's samples were finite,
    and what is wrong with it."""

    text: str
    wave: Tensor
    codes: int
    seed: int
    stopped: bool
    finite: bool
    warnings: tuple[str, ...]
    written: str = ""
    voice: str | None = None


def segment_seed(seed: int, index: int, attempt: int = 0) -> int:
    """Seed of an attempt at a segment: a function of the request's seed and of its place alone. The first
    segment's is the request's own, so a segment is made again alone by a request with its text and seed."""
    if index == 0 and attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}/{attempt}".encode()).digest()[:8], "big") % (
        MAX_SEED + 1
    )


def speak(
    synthesizer: Synthesizer,
    script: Sequence[TextSegment | Pause],
    delivery_of: Callable[[TextSegment], Delivery],
    seed: int,
    watch: Watch,
) -> Iterator[Spoken | Pause]:
    """The parts of `script` in order, each as soon as it is done; delivery_of: who says a segment, and how."""
    index, segments = 0, sum(isinstance(part, TextSegment) for part in script)
    for part in script:
        if isinstance(part, Pause):
            yield part
            continue
        watch.progress(SEGMENT, index, segments)
        yield speak_segment(synthesizer, part, index, delivery_of(part), seed, watch)
        index += 1


def speak_segment(
    synthesizer: Synthesizer, text: TextSegment, index: int, delivery: Delivery, seed: int, watch: Watch
) -> Spoken:
    """One segment; one that fails its checks is made again with another seed, and the better one is taken."""
    limits = limits_of(synthesizer)
    attempts: list[tuple[list[str], SegmentAudio]] = []
    notes: list[str] = []  # what had to be done otherwise than asked
    for attempt in range(ATTEMPTS):
        chosen = segment_seed(seed, index, attempt)
        audio = with_less_memory(
            partial(synthesizer.segment, text, seed=chosen, watch=watch), delivery, notes
        )
        problems = check_segment(
            audio.wave,
            synthesizer.sample_rate,
            tokens=len(text.token_ids),
            stopped=audio.stopped,
            speed=delivery.options.speed,
            limits=limits,
        )
        attempts.append((problems, audio))
        if not problems:
            break
        logger.warning(
            "segment %d, attempt %d of %d: %s", index + 1, attempt + 1, ATTEMPTS, "; ".join(problems)
        )
    problems, audio = min(attempts, key=lambda made: len(made[0]))
    with watch.stopwatch("finish"):
        finished = finish_segment(audio.wave, synthesizer.sample_rate)
    finite = bool(torch.isfinite(audio.wave).all())
    return told(text, finished.wave, audio, finite, index, [*problems, *notes, *notes_of(text, finished)])


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
        text.text, wave, audio.codes, audio.seed, audio.stopped, finite, warnings, text.written, text.voice
    )


def with_less_memory(make: Callable[[Delivery], Made], delivery: Delivery, notes: list[str]) -> Made:
    """`make(delivery)`; when the device's memory does not suffice, it is freed and tried once more with one beam,
    which `notes` tell. Raises ValueError when that fails as well."""
    try:
        return make(delivery)
    except torch.OutOfMemoryError:
        logger.warning("out of memory on the device: trying with one beam")
    free_memory()  # outside the handler, whose traceback holds the tensors
    beams = delivery.options.num_beams
    notes.append(
        f"the device had too little memory for {beams} beams, it was made with one"
        if beams > 1
        else "the device ran out of memory, it was made at the second try"
    )
    one_beam = dataclasses.replace(delivery.options, num_beams=1)
    try:
        return make(dataclasses.replace(delivery, options=one_beam))
    except torch.OutOfMemoryError as e:
        raise ValueError(
            "the device has too little memory for this request; lower segment_tokens, max_mel_tokens or "
            "num_beams, or use a shorter reference"
        ) from e


def free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
