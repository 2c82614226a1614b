"""Requests that the engine makes by themselves, part by part: what the shared decoder cannot take.

These are requests with an adapter, which have a GPT of their own; speech that is said again, which has no
codes to decode; and texts of a given length, all of whose codes are needed before any sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pipeline.convert import Source
from pipeline.gpt.batch import BatchDecoder
from pipeline.pieces import Pieces
from pipeline.synthesize import Delivery, SegmentAudio
from pipeline.threads import compute_on
from service.budget import SEGMENT
from service.conversion import convert
from service.engine.tasks import Drafted, Task, Work
from service.engine.voicing import Voicing
from service.fit import speak_in
from service.prepared import Part
from service.speak import TOO_LITTLE_MEMORY, Spoken, free_memory, with_less_memory


def parts_alone(work: Work, tasks: Sequence[Task], voicing: Voicing) -> Iterator[list[Part]]:
    """The parts of a request, as they are done. Each step is one segment, window or piece, on the thread that asks for
    it. Raises ValueError where the device has too little memory."""
    source, request = work.prepared.source, work.prepared.request
    assert request.seed is not None  # it was checked
    if source is not None:
        made = said_again(work, source, request.seed, voicing)
    elif request.duration is not None:
        made = fitted(work, request.duration, request.seed, voicing)
    else:
        made = spoken(work, tasks, voicing)
    try:
        yield from made
    except torch.OutOfMemoryError as e:
        free_memory(work.synthesizer)
        raise ValueError(TOO_LITTLE_MEMORY) from e


def said_again(work: Work, source: Source, seed: int, voicing: Voicing) -> Iterator[list[Part]]:
    """Of a source: its windows, in either kind of stream, as each is heard only as a whole."""
    prepared = work.prepared
    windows = convert(prepared.model, source, prepared.delivery, seed, prepared.watch)
    while True:
        with voicing.wide():
            window = next(windows, None)
        if window is None:
            return
        yield [Part(work.joiner.add(window.wave, continues=True), window)]


def fitted(work: Work, duration: float, seed: int, voicing: Voicing) -> Iterator[list[Part]]:
    """Of a given length. The first step has all codes, and is not held against who voices something else."""
    prepared = work.prepared
    gap = prepared.delivery.options.segment_silence_ms / 1000
    said = (prepared.script, prepared.delivery_of, seed, prepared.watch)
    parts = speak_in(work.synthesizer, *said, duration, gap)
    while True:
        compute_on(voicing.threads)
        part = next(parts, None)
        if part is None:
            return
        sound = part.wave if isinstance(part, Spoken) else part.seconds
        yield [Part(work.joiner.add(sound), part)]


def spoken(work: Work, tasks: Sequence[Task], voicing: Voicing) -> Iterator[list[Part]]:
    """Of a text: its segments one after another, or their pieces while they are made."""
    yield work.ready()
    for task in tasks:
        work.prepared.watch.progress(SEGMENT, task.index, len(tasks))
        if work.chunks:
            yield from in_pieces(task, voicing)
        else:
            yield work.finished(task, segment(task, voicing))


def segment(task: Task, voicing: Voicing) -> Spoken:
    """A whole segment, at the second attempt if the first has a problem."""
    work = task.work

    def attempt(delivery: Delivery) -> SegmentAudio:
        task.delivery = delivery
        compute_on(voicing.decode_threads)
        draft = work.synthesizer.draft(task.text, delivery, task.seed, work.prepared.watch)
        return voicing.render(Drafted(task, draft))

    while True:
        audio = with_less_memory(work.synthesizer, attempt, task.delivery, task.notes)
        if (finished := voicing.finish(task, audio)) is not None:
            return finished


def in_pieces(task: Task, voicing: Voicing) -> Iterator[list[Part]]:
    """A segment's sound while its codes are being made."""
    work, options = task.work, task.delivery.options
    watch, synthesizer = work.prepared.watch, work.synthesizer
    compute_on(voicing.decode_threads)
    decoder = BatchDecoder(synthesizer.model.gpt)
    with watch.stage("gpt"):
        sequence = decoder.join(
            synthesizer.prompt(task.text, task.delivery),
            synthesizer.sampling(options),
            torch.Generator().manual_seed(task.seed),
            lambda step: watch.progress("gpt", step, options.max_mel_tokens),
        )
    task.pieces = Pieces(synthesizer, task.delivery, torch.Generator().manual_seed(task.seed), watch)
    while len(decoder):
        compute_on(voicing.decode_threads)
        with watch.stopwatch("gpt"):
            decoder.step()
        if sequence.error is not None:
            raise sequence.error
        if len(decoder) and task.pieces.wants(sequence.count):
            piece = voicing.speak(task, sequence.so_far(), last=False)
            if not isinstance(piece, Spoken) and len(piece):
                work.early[task.index].append(piece)
                yield work.ready()
    assert sequence.decoded is not None  # it ended without an error
    whole = voicing.speak(task, sequence.decoded, last=True)
    assert isinstance(whole, Spoken)  # the last piece is
    yield work.finished(task, whole)
