"""The forms in which audio goes out: bytes as they come, or the OpenAI API's server-sent events."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator

from fastapi import Request

from gateway.body import FIELDS, RENAMED
from gateway.problem import Problem, refused
from gateway.progress import Progress
from gateway.speaker import Audio, Done, Refused

CLIENT_LEFT = 499  # as nginx counts it; nobody reads it


async def unless_left(request: Request, items: AsyncIterator) -> Audio | Refused | Done | Progress:
    """The first item. Raises Problem when the client leaves before there is one."""
    first, left = asyncio.ensure_future(anext(items)), asyncio.create_task(until_left(request))
    try:
        await asyncio.wait((first, left), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            return first.result()
        raise Problem(CLIENT_LEFT, "the client has left", code="client_left")
    finally:
        for task in (first, left):
            task.cancel()
        await asyncio.gather(first, left, return_exceptions=True)


async def until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def sound(first: Audio, items: AsyncIterator) -> AsyncIterator[bytes]:
    """The bytes; what goes wrong after the first breaks the answer off, so that nobody takes it for whole."""
    async with contextlib.aclosing(items):
        yield first.data
        async for item in items:
            if isinstance(item, Audio):
                yield item.data
            elif isinstance(item, Refused):
                raise late_or_wrong(item)


async def events(first: Audio | Progress, items: AsyncIterator) -> AsyncIterator[str]:
    """Server-sent events as the OpenAI API has them: speech.audio.delta, at last speech.audio.done or error; and
    speech.progress, which is ours, where it was asked for."""
    async with contextlib.aclosing(items):
        yield event_of(first)
        try:
            async for item in items:
                if isinstance(item, Audio | Progress):
                    yield event_of(item)
                elif isinstance(item, Refused):
                    raise late_or_wrong(item)
                elif isinstance(item, Done):
                    tokens, codes = item.metrics.get("text_tokens", 0), item.metrics["codes"]
                    usage = {"input_tokens": tokens, "output_tokens": codes, "total_tokens": tokens + codes}
                    yield event({"type": "speech.audio.done", "usage": usage, "metrics": item.metrics})
        except Problem as e:
            yield event({"type": "error", **e.content()})


def event_of(item: Audio | Progress) -> str:
    if isinstance(item, Progress):
        return event({"type": "speech.progress", **dataclasses.asdict(item)})
    return event({"type": "speech.audio.delta", "audio": base64.b64encode(item.data).decode()})


def event(content: dict[str, object]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def late_or_wrong(told: Refused) -> Problem:
    if told.late:
        return Problem(504, told.message, code="deadline_exceeded")
    return refused(ValueError(told.message), FIELDS | RENAMED.keys(), RENAMED)
