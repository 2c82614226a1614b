"""A request between its check and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.convert import Source
from pipeline.model import Model
from pipeline.synthesize import Delivery
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Watch
from service.conversion import Converted
from service.finish.join import Chunk
from service.reference import Reference
from service.request import Request
from service.speak import Spoken

Role = tuple[str | None, str | None]  # voice and emotion


def role_of(segment: TextSegment) -> Role:
    return segment.voice, segment.emotion


@dataclass(frozen=True)
class Prepared:
    """A request ready to be spoken: a script, or a source to say again; model: the service's, with the request's
    adapter; reference, delivery: of who speaks first; cast: every speaker of the script and how it says things, by
    voice and emotion as the markup names them; started: by time.perf_counter."""

    request: Request
    script: Sequence[TextSegment | Pause]
    source: Source | None
    model: Model
    reference: Reference
    delivery: Delivery
    watch: Watch
    started: float
    cast: Mapping[Role, tuple[Reference, Delivery]]

    def delivery_of(self, segment: TextSegment) -> Delivery:
        return self.cast[role_of(segment)][1]

    def references(self) -> dict[str, Reference]:
        """Every speaker's, by name; the one without a name is ""."""
        return {voice or "": reference for (voice, _), (reference, _) in self.cast.items()}


@dataclass(frozen=True)
class Piece:
    """The beginning or middle of a segment that is spoken while it is made; its end comes with what it is."""

    text: str
    index: int


@dataclass(frozen=True)
class Part:
    """A stretch of the result: its samples and what was spoken or said again in it, or the pause it is."""

    chunk: Chunk
    spoken: Spoken | Converted | Pause | Piece
