"""A script spoken in exactly as many seconds as were asked for: all codes first, then the mel lengths that fill them.

Pauses keep their length; speech is stretched or pressed by the length regulator, each segment by the same factor,
so that the pitch stays. Axes: T samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.synthesize import Delivery, Draft, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Watch
from service.budget import SEGMENT
from service.finish.checks import check_segment, length_problems
from service.finish.join import silence_samples
from service.finish.segment import finish_segment
from service.speak import ATTEMPTS, Spoken, limits_of, notes_of, segment_seed, told, with_less_memory

LEAST, MOST = 0.5, 2.0  # of the natural length: what the inputs allow as speed


class DurationError(ValueError):
    """A length that a text cannot be given; shortest, longest: seconds it can be given."""

    def __init__(self, message: str, shortest: float, longest: float):
        super().__init__(message)
        self.shortest, self.longest = shortest, longest


@dataclass(frozen=True)
class Planned:
    """A segment whose codes are there; natural: mel frames it would have by itself; frames: those it is given."""

    text: TextSegment
    delivery: Delivery
    draft: Draft
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    natural: int
    frames: int = 0


def speak_in(
    synthesizer: Synthesizer,
    script: Sequence[TextSegment | Pause],
    delivery_of: Callable[[TextSegment], Delivery],
    seed: int,
    watch: Watch,
    seconds: float,
    gap_seconds: float,
) -> Iterator[Spoken | Pause]:
    """The parts of `script` in order; joined with gaps of `gap_seconds` they last `seconds`, to the sample.

    Raises DurationError naming the possible lengths where LEAST to MOST times the natural one does not reach."""
    rate, hop = synthesizer.sample_rate, synthesizer.model.config.audio.hop_length
    texts = [part for part in script if isinstance(part, TextSegment)]
    planned = []
    for index, text in enumerate(texts):
        watch.progress(SEGMENT, index, len(texts))
        planned.append(plan(synthesizer, text, index, delivery_of(text), seed, watch))
    naturals = [segment.natural for segment in planned]
    room = round(seconds * rate) - silent_samples(script, naturals, rate, gap_seconds)
    frames = shares(naturals, room // hop)
    if frames is None:
        natural, silent = sum(naturals) * hop, round(seconds * rate) - room
        shortest = math.ceil((LEAST * natural + hop + silent) / rate * 100) / 100
        longest = math.floor((MOST * natural + silent) / rate * 100) / 100
        raise DurationError(
            f"duration is {seconds:g} s; this text takes {(natural + silent) / rate:.2f} s by itself, "
            f"possible are {shortest:.2f} to {longest:.2f} s",
            shortest,
            longest,
        )
    spare = room - sum(frames) * hop  # less than a frame: silence at the end of the last segment
    last = max(index for index, natural in enumerate(naturals) if natural)
    planned = [
        dataclasses.replace(segment, frames=given) for segment, given in zip(planned, frames, strict=True)
    ]
    index = 0
    for part in script:
        if isinstance(part, Pause):
            yield part
            continue
        length = planned[index].frames * hop + (spare if index == last else 0)
        yield render(synthesizer, planned[index], index, watch, length)
        index += 1


def plan(
    synthesizer: Synthesizer, text: TextSegment, index: int, delivery: Delivery, seed: int, watch: Watch
) -> Planned:
    """The codes of one segment; made again with another seed where they cannot be what the text asks for."""
    rate, hop = synthesizer.sample_rate, synthesizer.model.config.audio.hop_length
    attempts: list[Planned] = []
    for attempt in range(ATTEMPTS):
        notes: list[str] = []
        chosen = segment_seed(seed, index, attempt)
        draft = with_less_memory(
            synthesizer, partial(synthesizer.draft, text, seed=chosen, watch=watch), delivery, notes
        )
        natural = synthesizer.frames(draft.decoded, speed=1.0)
        seconds, stopped = natural * hop / rate, draft.decoded.stopped
        problems = length_problems(seconds, len(text.token_ids), stopped, 1.0, limits_of(synthesizer))
        attempts.append(Planned(text, delivery, draft, tuple(problems), tuple(notes), natural))
        if not problems:
            break
    return min(attempts, key=lambda made: len(made.problems))


def render(synthesizer: Synthesizer, planned: Planned, index: int, watch: Watch, length: int) -> Spoken:
    """The sound of a planned segment, `length` samples: noise that is cut off its end becomes silence."""
    rate, text, notes = synthesizer.sample_rate, planned.text, list(planned.notes)
    audio = with_less_memory(
        synthesizer,
        lambda asked: synthesizer.render(planned.draft, asked, watch, planned.frames),
        planned.delivery,
        notes,
    )
    speed = planned.natural / max(1, planned.frames)
    heard = check_segment(
        audio.wave,
        rate,
        tokens=len(text.token_ids),
        stopped=True,  # what is wrong with the codes is in `problems`
        speed=speed,
        limits=limits_of(synthesizer),
    )
    with watch.stopwatch("finish"):
        finished = finish_segment(audio.wave, rate)
    problems = [*planned.problems, *heard, *notes, *notes_of(text, finished)]
    finite = bool(torch.isfinite(audio.wave).all())
    return told(text, filled(finished.wave, length), audio, finite, index, problems)


def filled(wave: Tensor, length: int) -> Tensor:
    """wave [T] with silence up to [length]; what is over goes."""
    return torch.nn.functional.pad(wave, (0, max(0, length - len(wave))))[:length]


def silent_samples(
    script: Sequence[TextSegment | Pause], naturals: Sequence[int], rate: int, gap_seconds: float
) -> int:
    """Samples of the pauses and gaps of a script whose segments have `naturals` frames, as `Joiner` makes them."""
    samples, waits, frames = 0, False, iter(naturals)
    for part in script:
        if isinstance(part, Pause):
            samples, waits = samples + silence_samples(part.seconds, rate), False
        elif next(frames):
            samples, waits = samples + (silence_samples(gap_seconds, rate) if waits else 0), True
    return samples


def shares(natural: Sequence[int], total: int) -> list[int] | None:
    """`total` frames for segments of `natural` frames, in proportion (largest remainders); None where the whole is not
    LEAST to MOST times the natural one."""
    whole = sum(natural)
    if not whole or not LEAST * whole <= total <= MOST * whole:
        return None
    exact = [frames * total / whole for frames in natural]
    given = [int(frames) for frames in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: given[index] - exact[index])
    for index in by_remainder[: total - sum(given)]:
        given[index] += 1
    return given
