"""The engine's decoding thread: which segments are in the batch, and what becomes of their codes."""

from __future__ import annotations

import logging
import time

import torch

from pipeline.gpt.batch import BatchDecoder
from pipeline.gpt.decode import Sequence
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.pieces import Pieces
from pipeline.synthesize import Delivery, Draft, Synthesizer
from pipeline.text.prepare import TextSegment
from pipeline.threads import compute_on
from service.budget import SEGMENT
from service.engine.board import Board
from service.engine.limits import Limits
from service.engine.tasks import Drafted, Task, next_work
from service.engine.voices import Voices

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.5  # between looks at requests that do not move


def decoder_for(synthesizer: Synthesizer, limits: Limits) -> BatchDecoder | DeviceBatch:
    """What decodes many sequences on the model's device."""
    gpt = synthesizer.model.gpt
    if synthesizer.model.device.type == "cuda":
        return DeviceBatch(gpt, limits.segment_batch, limits.cache_bytes)
    return BatchDecoder(gpt)


class Decoding:
    def __init__(self, board: Board, voices: Voices, limits: Limits):
        self.board, self.voices, self.limits = board, voices, limits
        self.synthesizer = board.synthesizer
        self.decoder = decoder_for(self.synthesizer, limits)
        self.cache_bytes = 0  # that the sequences may take
        self._here: dict[Sequence, tuple[Task, torch.Generator]] = {}

    def bytes(self, task: Task) -> int:
        """The most memory its sequence may come to need."""
        return self.decoder.bytes(
            self.synthesizer.prompt_rows(task.text), self.synthesizer.sampling(task.delivery.options)
        )

    def draft(self, text: TextSegment, delivery: Delivery, seed: int) -> Draft:
        """The codes of one segment, before the thread runs: so that what is made once, such as a GPU's
        graphs, is there."""
        generator = torch.Generator().manual_seed(seed)
        prompt = self.synthesizer.prompt(text, delivery)
        sequence = self.decoder.join(prompt, self.synthesizer.sampling(delivery.options), generator)
        while sequence.decoded is None and sequence.error is None:
            self.decoder.step()
        if sequence.error is not None:
            raise sequence.error
        return Draft(sequence.decoded, generator, seed)

    def loop(self) -> None:
        """What the decoding thread runs."""
        compute_on(self.voices.voicing.decode_threads)
        while not self.board.closed:
            try:
                self._join_waiting()
                if len(self.decoder):
                    self._step()
            except Exception as e:  # what is wrong with one sequence ends it alone: this is wrong with all
                logger.exception("the decoder failed")
                for sequence in list(self._here):
                    task = self._left(sequence)[0]
                    self.board.fail(task.work.job, e)

    def _join_waiting(self) -> None:
        """Let leave who was cancelled, and join who comes next; waits while there is nothing to do."""
        while True:
            with self.board.changed:
                for sequence, (task, _) in list(self._here.items()):
                    if task.work.job.ended:
                        self._left(sequence)
                task = self._next_task()
                if task is None:
                    if self.board.closed or (len(self.decoder) and not self._awaited()):
                        return
                    self.board.changed.wait(IDLE_SECONDS)
                    stalled = [work for work in self.board.works.values() if work.job.unread]
            if task is not None:
                self._join(task)
            elif stalled:
                for work in stalled:  # a reader that stopped: its time runs on
                    with self.board.failing(work.job):
                        work.prepared.watch.progress("stream", 0, 1)

    def _awaited(self) -> bool:
        """Under the lock: whether all that is decoded has a first sound in the making, which the cores are
        left to. A step takes one of them from it, and what follows is not missed yet. A GPU has room for
        both."""
        return self.synthesizer.model.device.type == "cpu" and all(
            task.busy and task.pieces is not None and not task.pieces.spoken
            for task, _ in self._here.values()
        )

    def _next_task(self) -> Task | None:
        """Under the lock: the segment to begin now, with its memory taken."""
        if len(self.decoder) >= self.limits.segment_batch:
            return None
        work = next_work(self.board.works.values(), self.limits.most_ahead)
        if work is None:
            return None
        task = work.waiting[0]
        needed = self.bytes(task)
        room = self.decoder.room(self.synthesizer.sampling(task.delivery.options))
        if not room or self.cache_bytes + needed > self.limits.cache_bytes:
            return None  # nor may a smaller one pass, or this one would never come
        work.waiting.popleft()
        work.active += 1
        self.board.serve(work)
        task.bytes = needed
        self.cache_bytes += needed
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
            self.board.went_wrong(task, e)
        else:
            if task.work.chunks:
                noise = torch.Generator().manual_seed(task.seed)
                task.pieces = Pieces(self.synthesizer, task.delivery, noise, watch)
            told = self.decoder.notes(self.synthesizer.sampling(options))
            task.notes += [note for note in told if note not in task.notes]
            self._here[sequence] = task, generator

    def _step(self) -> None:
        start, count = time.perf_counter(), len(self.decoder)
        ended = self.decoder.step()
        share = (time.perf_counter() - start) / count
        for sequence, (task, _) in self._here.items():
            task.work.prepared.watch.stopwatch.add("gpt", share)
            if task.pieces is not None and not task.busy and task.pieces.wants(sequence.count):
                self.voices.feed(task, sequence.so_far(), last=False)
        for sequence in ended:
            task, generator = self._left(sequence)
            if sequence.error is not None:
                self.board.went_wrong(task, sequence.error)
            elif task.pieces is not None:
                self.voices.feed(task, sequence.decoded, last=True)
            else:
                self.voices.draft(Drafted(task, Draft(sequence.decoded, generator, task.seed)))

    def _left(self, sequence: Sequence) -> tuple[Task, torch.Generator]:
        self.decoder.leave(sequence)
        task, generator = self._here.pop(sequence)
        self._release(task)
        return task, generator

    def _release(self, task: Task) -> None:
        with self.board.changed:
            self.cache_bytes -= task.bytes
            task.bytes = 0
