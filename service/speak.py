"""A whole text spoken: each segment made, checked, made again once if need be, and finished for joining."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config import SynthesisConfig
from pipeline.synthesize import SegmentAudio, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch
from pipeline.voice import Voice
from service.budget import Budget
from service.finish.segment import SegmentLimits, check_segment, finish_segment
from service.request import MAX_SEED

logger = logging.getLogger(__name__)

ATTEMPTS = 2
SHOWN_TAIL_SECONDS = 0.05  # shorter cuts off a tail are not worth a word


@dataclass(frozen=True)
class Spoken:
    """One segment of the result: its text, finished wave [T], number of codes, the seed that makes it
    again as the first segment of a request, whether it ended by itself, what is wrong with it, and its pieces."""

    text: str
    wave: Tensor
    codes: int
    seed: int
    stopped: bool
    warnings: tuple[str, ...]
    pieces: str = ""


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
    voice: Voice,
    emotion_vector: Tensor,
    options: SynthesisConfig,
    seed: int,
    stopwatch: Stopwatch,
    budget: Budget,
) -> Iterator[Spoken | Pause]:
    """The parts of `script` in order, each as soon as it is done. emotion_vector [1, D]."""
    index = 0
    for part in script:
        if isinstance(part, Pause):
            yield part
            continue
        budget.segment = index
        yield speak_segment(synthesizer, part, index, voice, emotion_vector, options, seed, stopwatch, budget)
        index += 1


def speak_segment(
    synthesizer: Synthesizer,
    text: TextSegment,
    index: int,
    voice: Voice,
    emotion_vector: Tensor,
    options: SynthesisConfig,
    seed: int,
    stopwatch: Stopwatch,
    budget: Budget,
) -> Spoken:
    """One segment; one that fails its checks is made again with another seed, and the better one is taken."""
    pace = synthesizer.model.config.pace
    limits = SegmentLimits(pace.min_seconds_per_token, pace.max_seconds_per_token)
    attempts: list[tuple[list[str], SegmentAudio]] = []
    for attempt in range(ATTEMPTS):
        audio = with_less_memory(
            synthesizer,
            text,
            voice,
            emotion_vector,
            options,
            segment_seed(seed, index, attempt),
            stopwatch,
            budget,
        )
        problems = check_segment(
            audio.wave,
            synthesizer.sample_rate,
            tokens=len(text.token_ids),
            stopped=audio.stopped,
            speed=options.speed,
            limits=limits,
        )
        attempts.append((problems, audio))
        if not problems:
            break
        logger.warning(
            "segment %d, attempt %d of %d: %s", index + 1, attempt + 1, ATTEMPTS, "; ".join(problems)
        )
    problems, audio = min(attempts, key=lambda made: len(made[0]))
    with stopwatch("finish"):
        finished = finish_segment(audio.wave, synthesizer.sample_rate)
    warnings = [f"segment {index + 1}: {problem}" for problem in problems]
    if text.unknown:
        warnings.append(
            f"segment {index + 1}: {text.unknown} of its tokens are not in the model's vocabulary"
        )
    if finished.trimmed_seconds >= SHOWN_TAIL_SECONDS:
        warnings.append(
            f"segment {index + 1}: {finished.trimmed_seconds:.2f} s of noise were cut off its end"
        )
    return Spoken(
        text.text, finished.wave, audio.codes, audio.seed, audio.stopped, tuple(warnings), text.pieces
    )


def with_less_memory(
    synthesizer: Synthesizer,
    text: TextSegment,
    voice: Voice,
    emotion_vector: Tensor,
    options: SynthesisConfig,
    seed: int,
    stopwatch: Stopwatch,
    budget: Budget,
) -> SegmentAudio:
    """`Synthesizer.segment`; when the device's memory does not suffice, it is freed and the segment tried
    once more with one beam. Raises ValueError when that fails as well."""
    try:
        return synthesizer.segment(text, voice, emotion_vector, options, seed, stopwatch, budget)
    except torch.OutOfMemoryError:
        logger.warning("out of memory on the device: trying with one beam")
    free_memory()  # outside the handler, whose traceback holds the tensors
    try:
        return synthesizer.segment(
            text, voice, emotion_vector, dataclasses.replace(options, num_beams=1), seed, stopwatch, budget
        )
    except torch.OutOfMemoryError as e:
        raise ValueError(
            "the device has too little memory for this request; lower segment_tokens, max_mel_tokens or "
            "num_beams, or use a shorter reference"
        ) from e


def free_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
