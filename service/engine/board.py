"""What the engine's threads share: which requests there are, and how they end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

from pipeline.synthesize import Synthesizer
from service.conversion import Converted
from service.engine.job import Cancelled, Job
from service.engine.tasks import Task, Work
from service.health import Health
from service.prepared import Part
from service.speak import TOO_LITTLE_MEMORY, Spoken, free_memory, trying_with_one_beam


class Board:
    """`changed` guards all that the threads share, and wakes them; `works`: the requests whose segments are
    being made."""

    def __init__(self, synthesizer: Synthesizer, health: Health):
        self.synthesizer, self.health = synthesizer, health
        self.changed = threading.Condition()
        self.works: dict[Job, Work] = {}
        self.closed = False
        self._served = 0

    def serve(self, work: Work) -> None:
        """Under the lock: it is this request's turn."""
        self._served += 1
        work.served = self._served

    def wake(self, job: Job) -> None:
        """Something is new with `job`: its reader took a part, or it ended. Its sequences leave before the
        next step."""
        with self.changed:
            if job.ended:
                self.works.pop(job, None)
            self.changed.notify_all()

    def tell(self, work: Work, parts: list[Part]) -> None:
        """Hand out parts; the last ends the request."""
        self.put(work, parts)
        if not work.script:
            self.end(work)

    def put(self, work: Work, parts: list[Part]) -> None:
        for part in parts:
            if isinstance(part.spoken, (Spoken, Converted)):
                self.health.heard(part.spoken.finite)
            work.job.put(part)

    def end(self, work: Work) -> None:
        work.job.end()
        self.works.pop(work.job, None)

    def fail(self, job: Job, error: BaseException) -> None:
        if not isinstance(error, Cancelled):
            self.health.failed(error)
        job.end(error)
        self.wake(job)

    @contextlib.contextmanager
    def failing(self, job: Job) -> Iterator[None]:
        """What is raised ends the request."""
        try:
            yield
        except Exception as e:
            self.fail(job, e)

    def again(self, task: Task) -> None:
        """The segment is made once more."""
        with self.changed:
            task.work.active -= 1
            task.work.waiting.appendleft(task)
            self.changed.notify_all()

    def went_wrong(self, task: Task, error: BaseException) -> None:
        """One more try with one beam where the device had too little memory; else the request ends."""
        if isinstance(error, torch.OutOfMemoryError):
            free_memory(self.synthesizer)
            if not task.one_beam and task.pieces is None:
                task.one_beam = True
                task.notes.append(trying_with_one_beam(task.delivery.options.num_beams))
                task.delivery = task.delivery.with_one_beam()
                self.again(task)
                return
            error, cause = ValueError(TOO_LITTLE_MEMORY), error
            error.__cause__ = cause
        self.fail(task.work.job, error)
