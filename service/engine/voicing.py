"""From a segment's codes to its finished wave: what the engine's voicing threads do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from pipeline.gpt.decode import Decoded
from pipeline.synthesize import SegmentAudio, Synthesizer
from pipeline.threads import compute_on
from service.engine.tasks import Drafted, Task
from service.finish.checks import check_segment, length_problems
from service.finish.segment import Finished, finish_segment
from service.finish.shape import PEAK_CEILING, fade_ends
from service.speak import ATTEMPTS, Spoken, limits_of, notes_of, told

logger = logging.getLogger(__name__)

SMALL_GPT = 512  # width up to which a decode step is quicker on one thread than on several
BATCH = 16  # segments in one batch of the flow


class Voicing:
    """Renders segments on as many threads as there are cores.

    How many threads compute a sum can change its last bits, so it is decided by the request and not by what
    else there is to do: the segments of a text of several are each computed on one thread, side by side; a
    single segment, and every one of a model in `exact`, is computed on all of them."""

    def __init__(self, synthesizer: Synthesizer):
        self.synthesizer = synthesizer
        self.threads = torch.get_num_threads()
        small = synthesizer.model.config.gpt.model_dim <= SMALL_GPT
        self.decode_threads = 1 if small else self.threads
        model = synthesizer.model
        self.side_by_side = model.precision != "exact" and model.device.type == "cpu"
        self.workers = self.threads if model.device.type == "cpu" else 1
        self.most = 1 if model.device.type == "cpu" else BATCH  # a CPU is busy with one
        self._all = threading.Lock()  # held by who computes on all threads

    def narrow(self, task: Task) -> bool:
        return self.side_by_side and len(task.work.segments) > 1

    @contextmanager
    def wide(self) -> Iterator[None]:
        """Compute on all threads; one at a time."""
        with self._all:
            compute_on(self.threads)
            yield

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        compute_on(1)
        yield

    def speak(self, task: Task, decoded: Decoded, last: bool) -> Spoken | Tensor:
        """The next piece [T] of a segment that is spoken while it is made; the last with all there is to say of it."""
        rate, begins = self.synthesizer.sample_rate, task.pieces.spoken == 0
        with self.wide():
            wave = task.pieces.speak(decoded, last)
        finite = bool(torch.isfinite(wave).all())
        wave = torch.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0).clamp(-PEAK_CEILING, PEAK_CEILING)
        wave = fade_ends(wave, rate, start=begins, end=last)
        if not last:
            return wave
        seconds = self.synthesizer.frames(decoded, task.delivery.options.speed) * task.pieces.hop / rate
        problems = length_problems(
            seconds,
            len(task.text.token_ids),
            decoded.stopped,
            task.delivery.options.speed,
            limits_of(self.synthesizer),
        )
        audio = SegmentAudio(wave, len(decoded.codes), decoded.stopped, task.seed)
        lines = [*problems, *task.notes, *notes_of(task.text, Finished(wave, 0.0))]
        return told(task.text, wave, audio, finite, task.index, lines)

    def render(self, drafted: Drafted) -> SegmentAudio:
        """The sound of one segment."""
        task, narrow = drafted.task, self.narrow(drafted.task)
        with self.one_thread() if narrow else self.wide():
            return task.work.synthesizer.render(drafted.draft, task.delivery, task.work.prepared.watch)

    def render_together(self, several: Sequence[Drafted]) -> list[SegmentAudio]:
        """The sound of segments that go together, in one batch of the flow and of the vocoder. The time of
        their requests has their share of it."""
        watches = [drafted.task.work.prepared.watch for drafted in several]

        def progress(stage: str, step: int, of: int) -> None:
            for watch in watches:
                watch.progress(stage, step, of)

        start = time.perf_counter()
        audios = self.synthesizer.render_together(
            [drafted.draft for drafted in several],
            [drafted.task.delivery for drafted in several],
            self.most,
            progress,
        )
        for watch in watches:
            watch.stopwatch.add("s2mel", (time.perf_counter() - start) / len(several))
        return audios

    def finish(self, task: Task, audio: SegmentAudio) -> Spoken | None:
        """The finished segment; None when it is to be made again with another seed."""
        watch = task.work.prepared.watch
        problems = check_segment(
            audio.wave,
            self.synthesizer.sample_rate,
            tokens=len(task.text.token_ids),
            stopped=audio.stopped,
            speed=task.delivery.options.speed,
            limits=limits_of(self.synthesizer),
        )
        task.attempts.append((problems, audio))
        if problems:
            logger.warning(
                "segment %d, attempt %d of %d: %s",
                task.index + 1,
                len(task.attempts),
                ATTEMPTS,
                "; ".join(problems),
            )
            if len(task.attempts) < ATTEMPTS:
                return None
        problems, audio = min(task.attempts, key=lambda made: len(made[0]))
        with watch.stopwatch("finish"):
            finished = finish_segment(audio.wave, self.synthesizer.sample_rate)
        lines = [*problems, *task.notes, *notes_of(task.text, finished)]
        finite = bool(torch.isfinite(audio.wave).all())
        return told(task.text, finished.wave, audio, finite, task.index, lines)
