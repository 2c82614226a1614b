"""Webhooks on their way from coglet to where clients want them: through here, so that their errors are told once."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from gateway.told_once import said_once

logger = logging.getLogger(__name__)

PATH = "/webhooks/"
LAST = ("succeeded", "failed", "canceled")  # of a prediction's states: nothing comes after these
MAX_HOOKS = 1000  # of more the oldest are forgotten
SECONDS = 60.0
HOP_HEADERS = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}


class Hooks:
    """The URLs of webhooks, each by a path that nobody can guess."""

    def __init__(self):
        self.urls: dict[str, str] = {}

    def add(self, url: str) -> str:
        """The path that stands for `url`."""
        token = secrets.token_urlsafe()
        self.urls[token] = url
        while len(self.urls) > MAX_HOOKS:
            del self.urls[next(iter(self.urls))]
        return PATH + token

    def forget(self, path: str) -> None:
        self.urls.pop(path.removeprefix(PATH), None)

    async def deliver(self, request: web.Request) -> web.Response:
        """What coglet says, to the client's URL. coglet hears the receiver's status, and tries again where it would
        by itself."""
        url = self.urls.get(request.match_info["token"])
        if url is None:
            return web.Response(status=404)
        body = said_once(await request.read())
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=SECONDS), trust_env=True) as session,
                session.post(url, data=body, headers=end_to_end(request.headers)) as answer,
            ):
                status = answer.status
        except (ClientError, ValueError, TimeoutError) as e:
            logger.warning("a webhook was not delivered: %s", type(e).__name__)
            return web.Response(status=502)
        if status < 400 and json.loads(body).get("status") in LAST:
            self.forget(request.path)
        return web.Response(status=status)


def end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that go on to the next."""
    return {name: value for name, value in headers.items() if name.lower() not in HOP_HEADERS}
