"""The one door between the gateway and what speaks: a request in, waves out as they are done.

Whatever can do this for several requests at once can stand behind it and say so in `slots`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.reference import ReferenceOptions
from service.request import Request
from service.result import Result, streamed_metrics
from service.service import Service


class Left(BaseException):
    """Nobody waits for this request any more. Like a cancellation, it is no error of what is cancelled."""


@dataclass(frozen=True)
class Finished:
    """The last thing of a stream: the request's metrics."""

    metrics: dict[str, object]


class Door:
    """A Service that speaks one request after the other, in a thread of its own."""

    slots = 1

    def __init__(self, service: Service):
        self.service = service
        self.rate = service.model.config.audio.sample_rate
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="speak")

    async def stream(self, request: Request) -> AsyncIterator[np.ndarray | Finished]:
        """Waves float32 [T], one after another the whole, and then what there is to tell.

        Raises ValueError for what the caller can put right. Leaving it ends the synthesis at its next step."""
        loop, queue, left = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

        def put(item: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            try:
                put(self.speak(request, left, put))
            except BaseException as e:
                put(e)

        self.thread.submit(work)
        try:
            while not isinstance(item := await queue.get(), Finished):
                if isinstance(item, BaseException):
                    raise item
                yield item
            yield item
        finally:
            left.set()

    def speak(self, request: Request, left: threading.Event, put) -> Finished:
        """In the thread: every part goes to `put`."""
        service = self.service
        with service.health.watching():
            prepared = service.prepare(request, stop_when(left))
            parts = []
            for part in service.parts(prepared):
                parts.append(part)
                if len(part.chunk.wave):
                    put(part.chunk.wave.numpy())
            return Finished(streamed_metrics(service.model, prepared, parts))

    async def whole(self, request: Request, folder: Path) -> Result:
        """`Service.run`, likewise."""
        left = threading.Event()
        try:
            return await self.call(self.service.run, request, folder, stop_when(left))
        finally:
            left.set()

    async def inspect(self, path: Path) -> dict[str, object]:
        """What can be said of a clip or voice file, which is then known. Raises ValueError."""
        reference = await self.call(self.service.references.speaker, path, ReferenceOptions())
        report = reference.report
        return {
            "seconds": round(reference.voice.seconds, 2),
            "warnings": list(report.warnings) if report else [],
            **(report.metrics() if report else {}),
        }

    async def call(self, function, *arguments):
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)


def stop_when(left: threading.Event):
    def progress(stage: str, step: int, of: int) -> None:
        if left.is_set():
            raise Left

    return progress
