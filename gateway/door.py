"""The one door between the gateway and what speaks: a request in, waves out as they are done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.text.prepare import TextSegment
from pipeline.timing import OnProgress, no_progress
from service.prepared import Part
from service.reference import ReferenceOptions
from service.request import Request
from service.result import Result, streamed_metrics
from service.service import Service


@dataclass(frozen=True)
class Finished:
    """The last thing of a stream: the request's metrics."""

    metrics: dict[str, object]


class Door:
    """A Service whose engine speaks `slots` requests at once; others wait outside."""

    def __init__(self, service: Service):
        self.service = service
        self.slots = service.settings.segment_batch
        self.rate = service.model.config.audio.sample_rate

    async def stream(
        self, request: Request, on_progress: OnProgress = no_progress
    ) -> AsyncIterator[np.ndarray | Finished]:
        """Waves float32 [T], one after another the whole, and then what there is to tell.

        Raises ValueError for what the caller can put right. Leaving it ends the synthesis at its next step."""
        job = self.service.engine.submit(request, on_progress=on_progress)
        parts: list[Part] = []
        async with contextlib.aclosing(aiter(job)) as made:  # closed early, the job is cancelled
            async for part in made:
                parts.append(part)
                if len(part.chunk.wave):
                    yield part.chunk.wave.numpy()
        tokens = sum(len(part.token_ids) for part in job.prepared.script if isinstance(part, TextSegment))
        yield Finished(streamed_metrics(job.prepared, parts) | {"text_tokens": tokens})

    async def whole(self, request: Request, folder: Path, on_progress: OnProgress = no_progress) -> Result:
        """The request as a file, with what was asked for beside it; likewise."""
        job = self.service.engine.submit(request, on_progress=on_progress)
        async with contextlib.aclosing(aiter(job)) as made:
            parts = [part async for part in made]
        return await asyncio.to_thread(self.service.write, folder, job.prepared, parts)

    async def inspect(self, path: Path, adapter: Path | None = None) -> dict[str, object]:
        """What can be said of a clip or voice file, which is then known, as is the adapter that comes with it.
        Raises ValueError."""
        await asyncio.to_thread(self.service.adapters.apply, adapter)
        reference = await asyncio.to_thread(self.service.references.speaker, path, ReferenceOptions())
        report = reference.report
        return {
            "seconds": round(reference.voice.seconds, 2),
            "warnings": list(report.warnings) if report else [],
            **(report.metrics() if report else {}),
        }
