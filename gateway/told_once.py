"""Errors of coglet's answers, streams and webhooks without what it writes before them, twice at times."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

PREFIX = re.compile(r"^(?:Prediction failed: )+(?:Generator iteration error: )?(?:ValueError: )?")


async def whole_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, cut behind ends of lines only."""
    begun: list[bytes] = []
    async for chunk in chunks:
        whole, end, rest = chunk.rpartition(b"\n")
        if end:
            yield b"".join([*begun, whole, end])
            begun.clear()
        begun.append(rest)
    if last := b"".join(begun):
        yield last


def event_said_once(line: bytes) -> bytes:
    """A line of server-sent events whose data's `error` has no prefixes."""
    field, mark, data = line.partition(b": ")
    return field + mark + said_once(data) if field == b"data" else line


def said_once(body: bytes) -> bytes:
    """A prediction in JSON whose `error` has no prefixes; every other body as it is."""
    if not body.startswith(b"{") or b'"Prediction failed: ' not in body:
        return body
    content = json.loads(body)
    if isinstance(content.get("error"), str):
        content["error"] = PREFIX.sub("", content["error"])
    return json.dumps(content, ensure_ascii=False).encode()
