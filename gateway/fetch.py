"""A clip from a URL, if its host is one that clips may come from."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from gateway.problem import Problem
from gateway.voices import MAX_ADAPTER_BYTES, MAX_BYTES

SECONDS = 30.0
READ_BYTES = 65536


async def fetch(url: str, allowed: Collection[str], name: str) -> bytes:
    """The content at an https URL; no redirect is followed. Raises Problem."""
    most = MAX_ADAPTER_BYTES if name == "adapter" else MAX_BYTES
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        host = ""
    if host not in allowed or parts.scheme != "https" or parts.port not in (None, 443):
        names = ", ".join(allowed) or "none"
        raise Problem(400, f"{name} is at a host that is not allowed; allowed: {names}", param=name)
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=SECONDS), trust_env=False) as client,
            client.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise Problem(400, f"{name} cannot be fetched: its host says {answer.status}", param=name)
            content = bytearray()
            async for chunk in answer.content.iter_chunked(READ_BYTES):
                content += chunk
                if len(content) > most:
                    raise Problem(400, f"{name} has more than {most:,} bytes, the most allowed", param=name)
            return bytes(content)
    except (ClientError, TimeoutError, OSError) as e:
        raise Problem(400, f"{name} cannot be fetched: {type(e).__name__}", param=name) from e
