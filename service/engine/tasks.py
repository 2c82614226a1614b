"""The work that a request is made of: its segments, and which of them comes next."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from pipeline.gpt.decode import Decoded
from pipeline.pieces import Pieces
from pipeline.synthesize import Delivery, Draft, SegmentAudio, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Watch, both
from service.engine.job import Cancelled, Job
from service.finish.join import Joiner
from service.prepared import Part, Piece, Prepared
from service.speak import Spoken, segment_seed

FLOW_OPTIONS = ("diffusion_steps", "cfg_rate", "time_sway")  # the same for all of a batch


@dataclass
class Task:
    """A segment on its way: attempts that were made, and what had to be done otherwise than asked."""

    work: Work
    text: TextSegment
    index: int
    delivery: Delivery
    attempts: list[tuple[list[str], SegmentAudio]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    one_beam: bool = False  # it was begun again with little memory
    bytes: int = 0  # of cache that it holds
    pieces: Pieces | None = None  # where it is spoken while it is made
    newest: tuple[Decoded, bool] | None = None  # codes to be spoken in pieces, and whether they are all
    busy: bool = False  # a piece is being made

    @property
    def seed(self) -> int:
        return segment_seed(self.work.prepared.request.seed, self.index, len(self.attempts))


@dataclass(frozen=True)
class Drafted:
    """A segment whose codes are there."""

    task: Task
    draft: Draft

    def goes_with(self, other: Drafted) -> bool:
        """Whether the flow can make both in one batch."""
        one, two = (each.task.delivery.options for each in (self, other))
        return all(getattr(one, name) == getattr(two, name) for name in FLOW_OPTIONS)


class Work:
    """What is still to be done of one request, and what is done but not yet its turn. Used under the engine's lock."""

    def __init__(self, job: Job, prepared: Prepared, synthesizer: Synthesizer):
        """synthesizer: of the request's model."""
        watch = Watch(prepared.watch.stopwatch, both(self.check, prepared.watch.progress))
        self.job, self.chunks = job, job.stream == "chunks"
        self.prepared = dataclasses.replace(prepared, watch=watch)
        self.synthesizer = synthesizer
        self.joiner = Joiner(synthesizer.sample_rate, prepared.delivery.options.segment_silence_ms / 1000)
        self.segments = [part for part in prepared.script if isinstance(part, TextSegment)]
        self.waiting = deque(
            Task(self, text, index, prepared.delivery_of(text)) for index, text in enumerate(self.segments)
        )
        self.script = deque(prepared.script)
        self.done: dict[int, Spoken] = {}
        self.early: dict[int, deque[Tensor]] = defaultdict(deque)  # pieces of segments that are being made
        self.begun: int | None = None  # the segment a piece of which was handed out last
        self.active = 0  # segments that are being made
        self.told = 0  # segments handed out
        self.alone: Iterator[list[Part]] | None = None  # where it is made by itself (service.engine.alone)
        self.busy = False  # a part is being made of it by itself
        self.served = 0  # when one of its segments was last begun, by the engine's count
        # whether the segments after the first may begin: on a CPU each that is decoded beside it delays the
        # first sound, which whoever asks for a quick start waits for
        self.opened = not prepared.request.quick_start_tokens or synthesizer.model.device.type != "cpu"

    def check(self, stage: str, step: int, of: int) -> None:
        """Before every step of the work: none is done for a request that has ended."""
        if self.job.ended:
            raise Cancelled("the request has ended")

    @property
    def ahead(self) -> int:
        """Segments begun that nobody has taken yet."""
        return self.active + len(self.done) + self.job.unread

    def finished(self, task: Task, spoken: Spoken) -> list[Part]:
        """The parts whose turn it is, now that `task` is done."""
        self.done[task.index] = spoken
        return self.ready()

    def ready(self) -> list[Part]:
        """Parts whose turn it is."""
        parts = []
        while self.script:
            if isinstance(self.script[0], Pause):
                pause = self.script.popleft()
                parts.append(Part(self.joiner.add(pause.seconds), pause))
            elif self.early[self.told]:
                piece = Piece(self.script[0].text, self.told)
                parts.append(self.part(self.early[self.told].popleft(), piece))
            elif self.told in self.done:
                spoken = self.done.pop(self.told)
                parts.append(self.part(spoken.wave, spoken))
                self.script.popleft()
                self.early.pop(self.told)
                self.told += 1
            else:
                break
        return parts

    def part(self, wave: Tensor, spoken: Spoken | Piece) -> Part:
        continues, self.begun = self.begun == self.told, self.told
        return Part(self.joiner.add(wave, continues), spoken)


def next_work(works: Iterable[Work], most_ahead: int) -> Work | None:
    """Whose segment is begun next: of those that have one and whose reader keeps up, the one with the fewest segments
    in the making; of equals the one that was served longest ago. So a long text takes what is left over."""
    able = [
        w
        for w in works
        if w.waiting and not w.job.ended and w.ahead < most_ahead and (w.opened or w.waiting[0].index == 0)
    ]
    return min(able, key=lambda work: (work.active, work.served), default=None)
