"""The engine's voicing threads: codes that wait to be spoken, and who speaks them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from pipeline.gpt.decode import Decoded
from pipeline.synthesize import SegmentAudio
from service.engine.alone import parts_alone
from service.engine.board import Board
from service.engine.job import Job
from service.engine.limits import Limits
from service.engine.tasks import Drafted, Task, Work
from service.engine.voicing import Voicing
from service.speak import Spoken


class Voices:
    def __init__(self, board: Board, limits: Limits):
        self.board, self.limits, self.voicing = board, limits, Voicing(board.synthesizer)
        self.waiting: deque[Drafted | Callable[[], None]] = deque()

    def loop(self) -> None:
        """What each voicing thread runs."""
        while True:
            with self.board.changed:
                while not self.waiting and not self.board.closed:
                    self.board.changed.wait()
                if self.board.closed:
                    return
                work = self.waiting.popleft()
                several = [work, *self._companions(work)] if isinstance(work, Drafted) else []
            if several:
                self._voice(several)
            else:
                work()

    def draft(self, drafted: Drafted) -> None:
        """A segment whose codes are there is to be spoken."""
        self._put(drafted)

    def alone(self, work: Work) -> None:
        """A request is to be made by itself (`service.engine.alone`); under the lock."""
        work.alone = parts_alone(work, tuple(work.waiting), self.voicing)
        work.waiting.clear()
        self._go_on(work)

    def reader_went_on(self, job: Job) -> None:
        """The reader of a request took a part: one that is made by itself goes on."""
        with self.board.changed:
            if job in self.board.works:
                self._go_on(self.board.works[job])

    def _go_on(self, work: Work) -> None:
        """Under the lock: the next parts of a request that is made by itself, if its reader keeps up."""
        if work.alone is not None and not work.busy and work.job.unread < self.limits.most_ahead:
            work.busy = True
            self._put(partial(self._alone, work))

    def feed(self, task: Task, decoded: Decoded, last: bool) -> None:
        """Codes to be spoken in pieces, by whichever thread speaks this segment."""
        with self.board.changed:
            task.newest = decoded, last
            if not task.busy:
                task.busy = True
                self._put(partial(self._speak, task))

    def _put(self, work: Drafted | Callable[[], None]) -> None:
        with self.board.changed:
            self.waiting.append(work)
            self.board.changed.notify_all()

    def _companions(self, first: Drafted) -> list[Drafted]:
        """Under the lock: segments that wait as well and that the flow makes in one batch with `first`."""
        found = [w for w in self.waiting if isinstance(w, Drafted) and w.goes_with(first)]
        found = found[: self.voicing.most - 1]
        for drafted in found:
            self.waiting.remove(drafted)
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
                self.board.went_wrong(task, e)
                continue
            if spoken is None:
                self.board.again(task)
                continue
            with self.board.changed:
                task.work.active -= 1
                self.board.tell(task.work, task.work.finished(task, spoken))
                self.board.changed.notify_all()

    def _speak(self, task: Task) -> None:
        """Speak what there is of a segment in pieces, until there is no more at the moment."""
        with self.board.failing(task.work.job):
            while True:
                with self.board.changed:
                    newest, task.newest = task.newest, None
                    if newest is None or task.work.job.ended:
                        task.busy = False
                        self.board.changed.notify_all()
                        return
                made = self.voicing.speak(task, *newest)
                with self.board.changed:
                    if isinstance(made, Spoken):
                        task.work.active -= 1
                        self.board.tell(task.work, task.work.finished(task, made))
                    elif len(made):
                        task.work.early[task.index].append(made)
                        self.board.tell(task.work, task.work.ready())
                    self.board.changed.notify_all()

    def _alone(self, work: Work) -> None:
        """The next parts of a request that is made by itself. Then it waits its turn again: others have theirs in
        between."""
        with self.board.failing(work.job):
            parts = None if work.job.ended or work.alone is None else next(work.alone, None)
            with self.board.changed:
                work.busy = False
                if parts is None:
                    self.board.end(work)
                else:
                    self.board.put(work, parts)
                    self._go_on(work)
                self.board.changed.notify_all()
