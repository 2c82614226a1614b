"""A request that the engine works on, as its asker sees it: parts that come one by one, and a way to call it off."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

from service.prepared import Part, Prepared

STREAMS = ("segments", "chunks")  # parts as of the whole file, or sound as early as can be
LOOK_SECONDS = 0.1  # a thread that waits must wake now and then, or no exception of another thread reaches it


class Cancelled(Exception):
    """The request was called off."""


class Job:
    """The parts of a request, in order. One reader: a thread (`for`) or a coroutine (`async for`); who leaves early
    cancels. Raises what ended the request: ValueError in one line for what the caller can put right, Cancelled."""

    def __init__(self, on_change: Callable[[Job], None], stream: str = "segments"):
        """`on_change` is called, by any thread, when the reader took a part or cancelled. `stream`: of STREAMS."""
        if stream not in STREAMS:
            raise ValueError(f"stream is '{stream}'; allowed: {', '.join(STREAMS)}")
        self._on_change, self.stream = on_change, stream
        self._changed = threading.Condition()
        self._parts: deque[Part] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None
        self.error: BaseException | None = None
        self.ended = False
        self.prepared: Prepared | None = None  # once it is

    @property
    def unread(self) -> int:
        """Parts that are ready and not yet taken."""
        return len(self._parts)

    def cancel(self) -> None:
        """Call it off, from any thread; nothing once it has ended."""
        self.end(Cancelled("the request was cancelled"))
        self._on_change(self)

    def put(self, part: Part) -> None:
        with self._changed:
            if not self.ended:
                self._parts.append(part)
                self._tell()

    def end(self, error: BaseException | None = None) -> None:
        """No part comes any more. After an error those that wait are dropped."""
        with self._changed:
            if self.ended:
                return
            self.ended, self.error = True, error
            if error is not None:
                self._parts.clear()
            self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        if self._loop is not None and self._event is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    def _take(self) -> Part | None:
        """The next part, if there is one; under the lock."""
        if self._parts:
            return self._parts.popleft()
        if self.error is not None:
            raise self.error
        return None

    def __iter__(self) -> Iterator[Part]:
        try:
            while True:
                with self._changed:
                    while (part := self._take()) is None and not self.ended:
                        self._changed.wait(LOOK_SECONDS)
                if part is None:
                    return
                self._on_change(self)
                yield part
        finally:
            self.cancel()

    async def __aiter__(self) -> AsyncIterator[Part]:
        with self._changed:
            self._loop, self._event = asyncio.get_running_loop(), asyncio.Event()
        try:
            while True:
                self._event.clear()
                with self._changed:
                    part, ended = self._take(), self.ended
                if part is not None:
                    self._on_change(self)
                    yield part
                elif ended:
                    return
                else:
                    await self._event.wait()
        finally:
            self.cancel()
