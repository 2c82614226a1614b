"""Who speaks the orders: a Speaker in this process, or the replicas of a Ray Serve deployment."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from gateway.problem import Problem
from gateway.progress import Progress
from gateway.speaker import Audio, Done, Order, Refused, Speaker

Item = Audio | Refused | Done | Progress
MAX_TRIES = 4  # of an order whose replica is lost


class Replicas(Protocol):
    def speak(self, order: Order) -> AsyncIterator[Item]:
        """The order's items; leaving it ends the work. Raises Problem."""

    async def inspect(self, content: bytes, adapter: bytes = b"") -> dict[str, object] | Refused:
        """What can be said of a clip; whether it and an adapter that comes with it can be used."""

    async def running(self) -> int:
        """How many speakers take orders."""


class InProcess:
    """One speaker, here; at most `queue` orders wait for it."""

    def __init__(self, speaker: Speaker, queue: int):
        self.speaker, self.most, self.under_way = speaker, speaker.door.slots + queue, 0

    async def speak(self, order: Order) -> AsyncIterator[Item]:
        if self.under_way >= self.most:
            raise busy(self.under_way)
        self.under_way += 1
        try:
            async with contextlib.aclosing(self.speaker.speak(order)) as items:
                async for item in items:
                    yield item
        finally:
            self.under_way -= 1

    async def inspect(self, content: bytes, adapter: bytes = b"") -> dict[str, object] | Refused:
        return await self.speaker.inspect(content, adapter)

    async def running(self) -> int:
        return 1


def busy(waiting: int) -> Problem:
    return Problem(
        429, f"{waiting} requests are waiting already; try later", code="queue_full",
        headers={"Retry-After": str(max(1, min(60, waiting)))},
    )  # fmt: skip


async def unbroken(
    items: Callable[[], AsyncIterator[Item]],
    lost: tuple[type[BaseException], ...],
    retried: Callable[[], None],
) -> AsyncIterator[Item]:
    """The items of an order that is begun again when its replica is `lost`. The same order gives the same bytes, so
    what was sent already is left out of the second try."""
    sent = 0
    for tries in range(MAX_TRIES):
        skip = sent
        try:
            async with contextlib.aclosing(items()) as stream:
                async for item in stream:
                    if isinstance(item, Audio) and skip:
                        item, skip = Audio(item.data[skip:]), max(0, skip - len(item.data))
                        if not item.data:
                            continue
                    if isinstance(item, Audio):
                        sent += len(item.data)
                    yield item
            return
        except lost as e:
            if tries + 1 == MAX_TRIES:
                raise Problem(
                    503, "the speakers of this request were lost; try again", code="replica_lost"
                ) from e
            retried()
