"""A request between its check and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.synthesize import Delivery
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Watch
from service.finish.join import Chunk
from service.reference import Reference
from service.request import Request
from service.speak import Spoken


@dataclass(frozen=True)
class Prepared:
    """A request ready to be spoken; started: by time.perf_counter."""

    request: Request
    script: Sequence[TextSegment | Pause]
    reference: Reference
    delivery: Delivery
    watch: Watch
    started: float


@dataclass(frozen=True)
class Part:
    """A stretch of the result: its samples and what was spoken in it, or the pause it is."""

    chunk: Chunk
    spoken: Spoken | Pause
