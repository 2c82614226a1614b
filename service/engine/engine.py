"""One engine for all requests: their segments are decoded in one batch and voiced side by side.

Threads: one prepares requests, one decodes (`decoding`), some voice (`voices`). A request that fails, is cancelled or
is not read holds up no other; memory is bounded by `Limits`, and a segment begins only when what it may come to need
is free.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pipeline.synthesize import Synthesizer
from pipeline.timing import OnProgress, no_progress
from service.engine.board import Board
from service.engine.decoding import Decoding
from service.engine.job import Job
from service.engine.limits import Limits
from service.engine.tasks import Work
from service.engine.voices import Voices
from service.health import Health
from service.prepared import Prepared
from service.request import Request

Prepare = Callable[[Request, OnProgress], Prepared]


class EngineFull(Exception):
    """So many requests wait that another is refused."""


class Engine:
    def __init__(self, synthesizer: Synthesizer, prepare: Prepare, health: Health, limits: Limits):
        self.synthesizer, self.prepare, self.health, self.limits = synthesizer, prepare, health, limits
        self.board = Board(synthesizer, health)
        self.voices = Voices(self.board, limits)
        self.decoding = Decoding(self.board, self.voices, limits)
        self._changed = self.board.changed
        self._requests: deque[tuple[Job, Request, OnProgress]] = deque()
        self._threads: list[threading.Thread] = []

    def submit(
        self, request: Request, stream: str = "segments", on_progress: OnProgress = no_progress
    ) -> Job:
        """Begin `request`; returns at once, from any thread. stream: "segments" gives each when it is done,
        the bytes of the whole file; "chunks" gives sound as early as can be, while a segment is still being
        made (one beam, no second attempt). on_progress is called before every step, by whatever thread makes
        it. Raises EngineFull."""
        job = Job(self._job_changed, stream)
        with self._changed:
            if len(self._requests) >= self.limits.most_waiting:
                raise EngineFull(f"{len(self._requests)} requests wait already; try again later")
            self._requests.append((job, request, on_progress))
            self._start()
        return job

    def speak(self, prepared: Prepared, stream: str = "segments") -> Job:
        """As `submit`, for a request that the caller has prepared."""
        job = Job(self._job_changed, stream)
        self._begin(job, prepared)
        return job

    def counts(self) -> dict[str, int]:
        """What there is at the moment: requests `waiting` and `running`, `sequences` being decoded,
        `cache_bytes` they may take, segments `to_voice`."""
        with self._changed:
            return {
                "waiting": len(self._requests),
                "running": len(self.board.works),
                "sequences": len(self.decoding.decoder),
                "cache_bytes": self.decoding.cache_bytes,
                "to_voice": len(self.voices.waiting),
            }

    def close(self) -> None:
        """End every request, and the threads."""
        with self._changed:
            self.board.closed = True
            jobs = [job for job, _, _ in self._requests] + list(self.board.works)
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        """Under the lock: the threads are there and look."""
        if self.board.closed:
            raise EngineFull("the engine is closed")
        if not self._threads:
            loops = {
                "engine_prepare": self._prepare_loop,
                "engine_decode": self.decoding.loop,
                **{f"engine_voice_{i}": self.voices.loop for i in range(self.voices.voicing.workers)},
            }
            self._threads = [
                threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()
            ]
            for thread in self._threads:
                thread.start()
        self._changed.notify_all()

    def _job_changed(self, job: Job) -> None:
        if job.ended:
            with self._changed:
                self._requests = deque(asked for asked in self._requests if asked[0] is not job)
        self.board.wake(job)
        self.voices.reader_went_on(job)

    def _prepare_loop(self) -> None:
        while True:
            with self._changed:
                while not self._requests and not self.board.closed:
                    self._changed.wait()
                if self.board.closed:
                    return
                job, request, on_progress = self._requests.popleft()
            with self.board.failing(job):
                prepared = self.prepare(request, on_progress)
                if not job.ended:
                    self._begin(job, prepared)

    def _begin(self, job: Job, prepared: Prepared) -> None:
        """Put the segments of a request among those to be made. Raises ValueError for one that memory does not
        suffice for."""
        own = prepared.model is self.synthesizer.model
        work = Work(job, prepared, self.synthesizer if own else Synthesizer(prepared.model))
        for task in work.waiting:
            if work.chunks:
                task.delivery = task.delivery.with_one_beam()
            needed = self.decoding.bytes(task)
            if needed > self.limits.cache_bytes:
                raise ValueError(
                    f"segment {task.index + 1} may need {needed / 2**20:.0f} MB of memory, there are "
                    f"{self.limits.cache_bytes / 2**20:.0f}; lower segment_tokens, max_mel_tokens or num_beams"
                )
        job.prepared = prepared
        with self._changed:
            self.board.serve(work)
            self.board.works[job] = work
            if not own or prepared.source is not None or prepared.request.duration is not None:
                self.voices.alone(work)
            else:
                self.board.tell(work, work.ready())
            self._start()
