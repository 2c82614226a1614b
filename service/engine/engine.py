"""One engine for all requests: their segments are decoded in one batch and voiced side by side.

Threads: one prepares requests, one decodes, some voice. A request that fails, is cancelled or is not read holds up no
other; memory is bounded by `Limits`, and a segment begins only when what it may come to need is free.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import torch

from pipeline.gpt.batch import BatchDecoder
from pipeline.gpt.decode import Decoded, Sequence
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.pieces import Pieces
from pipeline.synthesize import Draft, SegmentAudio, Synthesizer
from service.budget import SEGMENT
from service.engine.job import Cancelled, Job
from service.engine.limits import Limits
from service.engine.tasks import Drafted, Task, Work, next_work
from service.engine.voicing import Voicing
from service.fit import speak_in
from service.health import Health
from service.prepared import Part, Prepared
from service.request import Request
from service.speak import TOO_LITTLE_MEMORY, Spoken, free_memory, trying_with_one_beam

logger = logging.getLogger(__name__)

SMALL_GPT = 512  # width up to which a decode step is quicker on one thread than on several
IDLE_SECONDS = 0.5  # between looks at requests that do not move
Prepare = Callable[[Request], Prepared]


def decoder_for(synthesizer: Synthesizer, limits: Limits) -> BatchDecoder | DeviceBatch:
    """What decodes many sequences on the model's device."""
    gpt = synthesizer.model.gpt
    if synthesizer.model.device.type == "cuda":
        return DeviceBatch(gpt, limits.segment_batch, limits.cache_bytes)
    return BatchDecoder(gpt)


class EngineFull(Exception):
    """So many requests wait that another is refused."""


class Engine:
    def __init__(self, synthesizer: Synthesizer, prepare: Prepare, health: Health, limits: Limits):
        self.synthesizer, self.prepare, self.health, self.limits = synthesizer, prepare, health, limits
        self.decoder = decoder_for(synthesizer, limits)
        self.voicing = Voicing(synthesizer)
        self._changed = threading.Condition()
        self._requests: deque[tuple[Job, Request]] = deque()
        self._works: dict[Job, Work] = {}
        self._here: dict[Sequence, tuple[Task, torch.Generator]] = {}
        self._to_voice: deque[Drafted | Callable[[], None]] = deque()
        self._cache_bytes = 0
        self._served = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, request: Request, stream: str = "segments") -> Job:
        """Begin `request`; returns at once, from any thread. stream: "segments" gives each when it is done, the bytes of
        the whole file; "chunks" gives sound as early as can be, while a segment is still being made (one beam, no
        second attempt). Raises EngineFull."""
        job = Job(self._job_changed, stream)
        with self._changed:
            if len(self._requests) >= self.limits.most_waiting:
                raise EngineFull(f"{len(self._requests)} requests wait already; try again later")
            self._requests.append((job, request))
            self._start()
        return job

    def speak(self, prepared: Prepared, stream: str = "segments") -> Job:
        """As `submit`, for a request that the caller has prepared."""
        job = Job(self._job_changed, stream)
        self._begin(job, prepared)
        return job

    def counts(self) -> dict[str, int]:
        """What there is at the moment: requests `waiting` and `running`, `sequences` being decoded, `cache_bytes` they may
        take, segments `to_voice`."""
        with self._changed:
            return {
                "waiting": len(self._requests),
                "running": len(self._works),
                "sequences": len(self.decoder),
                "cache_bytes": self._cache_bytes,
                "to_voice": len(self._to_voice),
            }

    def close(self) -> None:
        """End every request, and the threads."""
        with self._changed:
            self._closed = True
            jobs = [job for job, _ in self._requests] + list(self._works)
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        """Under the lock: the threads are there and look."""
        if self._closed:
            raise EngineFull("the engine is closed")
        if not self._threads:
            loops = [self._prepare_loop, self._decode_loop, *[self._voice_loop] * self.voicing.workers]
            self._threads = [
                threading.Thread(target=loop, name=f"engine{loop.__name__}", daemon=True) for loop in loops
            ]
            for thread in self._threads:
                thread.start()
        self._changed.notify_all()

    def _job_changed(self, job: Job) -> None:
        with self._changed:
            if job.ended:
                self._drop(job)
            self._changed.notify_all()

    def _drop(self, job: Job) -> None:
        """Under the lock: forget a request that has ended. Its sequences leave before the next step."""
        self._works.pop(job, None)
        self._requests = deque(pair for pair in self._requests if pair[0] is not job)

    def _fail(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self.health.failed(error)
        job.end(error)
        self._job_changed(job)

    # --- preparing ---------------------------------------------------------------------------

    def _prepare_loop(self) -> None:
        while True:
            with self._changed:
                while not self._requests and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job, request = self._requests.popleft()
            try:
                prepared = self.prepare(request)
                if not job.ended:
                    self._begin(job, prepared)
            except Exception as e:
                self._fail(job, e)

    def _begin(self, job: Job, prepared: Prepared) -> None:
        """Put the segments of a request among those to be made. Raises ValueError for one that memory does not
        suffice for."""
        work = Work(job, prepared, self.synthesizer.sample_rate)
        for task in work.waiting:
            if work.chunks:
                task.delivery = task.delivery.with_one_beam()
            needed = self._bytes(task)
            if needed > self.limits.cache_bytes:
                raise ValueError(
                    f"segment {task.index + 1} may need {needed / 2**20:.0f} MB of memory, there are "
                    f"{self.limits.cache_bytes / 2**20:.0f}; lower segment_tokens, max_mel_tokens or num_beams"
                )
        job.prepared = prepared
        with self._changed:
            self._served += 1
            work.served = self._served
            self._works[job] = work
            if prepared.request.duration is not None:
                work.waiting.clear()
                self._to_voice.append(partial(self._fit, work))
            else:
                self._tell(work, work.ready())
            self._start()

    def _bytes(self, task: Task) -> int:
        return self.decoder.bytes(
            self.synthesizer.prompt_rows(task.text), self.synthesizer.sampling(task.delivery.options)
        )

    # --- decoding ----------------------------------------------------------------------------

    def _decode_loop(self) -> None:
        small = self.synthesizer.model.config.gpt.model_dim <= SMALL_GPT
        torch.set_num_threads(1 if small else self.voicing.threads)
        while not self._closed:
            try:
                self._join_waiting()
                if len(self.decoder):
                    self._step()
            except Exception as e:  # what is wrong with one sequence ends it alone: this is wrong with all
                logger.exception("the decoder failed")
                for sequence in list(self._here):
                    task = self._left(sequence)[0]
                    self._fail(task.work.job, e)

    def _join_waiting(self) -> None:
        """Let leave who was cancelled, and join who comes next; waits while there is nothing to do."""
        while True:
            with self._changed:
                for sequence, (task, _) in list(self._here.items()):
                    if task.work.job.ended:
                        self._left(sequence)
                task = self._next_task()
                if task is None:
                    if len(self.decoder) or self._closed:
                        return
                    self._changed.wait(IDLE_SECONDS)
                    stalled = [work for work in self._works.values() if work.job.unread]
            if task is not None:
                self._join(task)
            elif stalled:
                for work in stalled:  # a reader that stopped: its time runs on
                    with self._failing(work.job):
                        work.prepared.watch.progress("stream", 0, 1)

    def _next_task(self) -> Task | None:
        """Under the lock: the segment to begin now, with its memory taken."""
        if len(self.decoder) >= self.limits.segment_batch:
            return None
        work = next_work(self._works.values(), self.limits.most_ahead)
        if work is None:
            return None
        task = work.waiting[0]
        needed = self._bytes(task)
        if self._cache_bytes + needed > self.limits.cache_bytes:
            return None  # nor may a smaller one pass, or this one would never come
        work.waiting.popleft()
        work.active += 1
        self._served += 1
        work.served = self._served
        task.bytes = needed
        self._cache_bytes += needed
        return task

    def _join(self, task: Task) -> None:
        watch, options = task.work.prepared.watch, task.delivery.options
        generator = torch.Generator().manual_seed(task.seed)
        try:
            if not task.attempts:
                watch.progress(SEGMENT, task.index, len(task.work.segments))
            with watch.stage("gpt"):
                prompt = self.synthesizer.prompt(task.text, task.delivery)
                sequence = self.decoder.join(
                    prompt,
                    self.synthesizer.sampling(options),
                    generator,
                    lambda step: watch.progress("gpt", step, options.max_mel_tokens),
                )
        except Exception as e:
            self._release(task)
            self._went_wrong(task, e)
        else:
            if task.work.chunks:
                noise = torch.Generator().manual_seed(task.seed)
                task.pieces = Pieces(self.synthesizer, task.delivery, noise, watch)
            self._here[sequence] = task, generator

    def _step(self) -> None:
        start, count = time.perf_counter(), len(self.decoder)
        ended = self.decoder.step()
        share = (time.perf_counter() - start) / count
        for sequence, (task, _) in self._here.items():
            task.work.prepared.watch.stopwatch.add("gpt", share)
            if task.pieces is not None and not task.busy and task.pieces.wants(sequence.count):
                self._feed(task, sequence.so_far(), last=False)
        for sequence in ended:
            task, generator = self._left(sequence)
            if sequence.error is not None:
                self._went_wrong(task, sequence.error)
            elif task.pieces is not None:
                self._feed(task, sequence.decoded, last=True)
            else:
                draft = Draft(sequence.decoded, generator, task.seed)
                with self._changed:
                    self._to_voice.append(Drafted(task, draft))
                    self._changed.notify_all()

    def _left(self, sequence: Sequence) -> tuple[Task, torch.Generator]:
        self.decoder.leave(sequence)
        task, generator = self._here.pop(sequence)
        self._release(task)
        return task, generator

    def _release(self, task: Task) -> None:
        with self._changed:
            self._cache_bytes -= task.bytes
            task.bytes = 0

    def _went_wrong(self, task: Task, error: BaseException) -> None:
        """One more try with one beam where the device had too little memory; else the request ends."""
        if isinstance(error, torch.OutOfMemoryError):
            free_memory(self.synthesizer)
            if not task.notes and task.pieces is None:
                task.notes.append(trying_with_one_beam(task.delivery.options.num_beams))
                task.delivery = task.delivery.with_one_beam()
                self._again(task)
                return
            error, cause = ValueError(TOO_LITTLE_MEMORY), error
            error.__cause__ = cause
        self._fail(task.work.job, error)

    def _again(self, task: Task) -> None:
        with self._changed:
            task.work.active -= 1
            task.work.waiting.appendleft(task)
            self._changed.notify_all()

    # --- voicing -----------------------------------------------------------------------------

    def _voice_loop(self) -> None:
        while True:
            with self._changed:
                while not self._to_voice and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                work = self._to_voice.popleft()
                several = [work, *self._companions(work)] if isinstance(work, Drafted) else []
            if several:
                self._voice(several)
            else:
                work()

    def _companions(self, first: Drafted) -> list[Drafted]:
        """Under the lock: segments that wait as well and that the flow makes in one batch with `first`."""
        found = [w for w in self._to_voice if isinstance(w, Drafted) and w.goes_with(first)]
        found = found[: self.voicing.most - 1]
        for drafted in found:
            self._to_voice.remove(drafted)
        return found

    def _voice(self, several: list[Drafted]) -> None:
        audios: list[SegmentAudio | None] = [None] * len(several)
        if len(several) > 1:
            states = [drafted.draft.generator.get_state() for drafted in several]
            try:
                audios = self.voicing.render_together(several)
            except Exception:  # of one of them, or too little memory for all: each by itself tells whose
                for drafted, state in zip(several, states, strict=True):
                    drafted.draft.generator.set_state(state)
        for drafted, audio in zip(several, audios, strict=True):
            task = drafted.task
            if task.work.job.ended:
                continue
            try:
                spoken = self.voicing.finish(task, audio or self.voicing.render(drafted))
            except Exception as e:
                self._went_wrong(task, e)
                continue
            if spoken is None:
                self._again(task)
                continue
            with self._changed:
                task.work.active -= 1
                self._tell(task.work, task.work.finished(task, spoken))
                self._changed.notify_all()

    def _feed(self, task: Task, decoded: Decoded, last: bool) -> None:
        """Codes to be spoken in pieces, by whichever thread speaks this segment."""
        with self._changed:
            task.newest = decoded, last
            if not task.busy:
                task.busy = True
                self._to_voice.append(partial(self._speak, task))
                self._changed.notify_all()

    def _speak(self, task: Task) -> None:
        """Speak what there is of a segment in pieces, until there is no more at the moment."""
        with self._failing(task.work.job):
            while True:
                with self._changed:
                    newest, task.newest = task.newest, None
                    if newest is None or task.work.job.ended:
                        task.busy = False
                        return
                made = self.voicing.speak(task, *newest)
                with self._changed:
                    if isinstance(made, Spoken):
                        task.work.active -= 1
                        self._tell(task.work, task.work.finished(task, made))
                    elif len(made):
                        task.work.early[task.index].append(made)
                        self._tell(task.work, task.work.ready())
                    self._changed.notify_all()

    def _fit(self, work: Work) -> None:
        """A request of a given length: all of its codes are needed before any sound, and it is made by itself."""
        prepared = work.prepared
        with self._failing(work.job):
            torch.set_num_threads(self.voicing.threads)
            gap = prepared.delivery.options.segment_silence_ms / 1000
            said = (prepared.script, prepared.delivery_of, prepared.request.seed, prepared.watch)
            for part in speak_in(self.synthesizer, *said, prepared.request.duration, gap):
                if work.job.ended:
                    return
                sound = part.wave if isinstance(part, Spoken) else part.seconds
                work.script.popleft()
                self._tell(work, [Part(work.joiner.add(sound), part)])

    @contextlib.contextmanager
    def _failing(self, job: Job):
        """What is raised ends the request."""
        try:
            yield
        except Exception as e:
            self._fail(job, e)

    def _tell(self, work: Work, parts: list[Part]) -> None:
        """Hand out parts; the last ends the request."""
        for part in parts:
            if isinstance(part.spoken, Spoken):
                self.health.heard(part.spoken.finite)
            work.job.put(part)
        if not work.script:
            work.job.end()
            self._works.pop(work.job, None)
