"""How far an order is, told beside its audio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from service.budget import SEGMENT

PAUSE_SECONDS = 0.2  # between two reports of a stage
WAITING = "stream"  # the engine's look at a request whose reader is slow

Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """stage: of the service's timings; step of so many in it (gpt: of the most there may be); segments: that are begun,
    and how many there are, 0 while that is not known."""

    stage: str
    step: int
    of: int
    begun: int = 0
    segments: int = 0


class Reports:
    """Takes what the service tells, from any of its threads, and keeps the newest for a coroutine."""

    def __init__(self):
        self.newest: Progress | None = None
        self.changed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._stage, self._told, self._begun, self._segments = "", 0.0, 0, 0

    def __call__(self, stage: str, step: int, of: int) -> None:
        with self._lock:
            if stage == SEGMENT:
                self._begun, self._segments = max(self._begun, step + 1), of
                return
            now = time.monotonic()
            if stage == WAITING or stage == self._stage and now - self._told < PAUSE_SECONDS:
                return
            self._stage, self._told = stage, now
            self.newest = Progress(stage, step, of, self._begun, self._segments)
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.changed.set)

    def take(self) -> Progress | None:
        """The newest report that was not taken."""
        with self._lock:
            newest, self.newest = self.newest, None
        self.changed.clear()
        return newest


async def reported(items: AsyncIterator[Item], reports: Reports) -> AsyncIterator[Item | Progress]:
    """The items, and between them what is reported while the next is made."""
    item = asyncio.ensure_future(anext(items))
    try:
        while True:
            change = asyncio.create_task(reports.changed.wait())
            try:
                await asyncio.wait((item, change), return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()
            if (newest := reports.take()) is not None:
                yield newest
            if item.done():
                try:
                    yield item.result()
                except StopAsyncIteration:
                    return
                item = asyncio.ensure_future(anext(items))
    finally:
        item.cancel()
        await asyncio.gather(item, return_exceptions=True)
