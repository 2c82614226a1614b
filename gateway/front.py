"""A front for Cog's server (coglet), which answers one request at a time: `script/serve`.

Three things that coglet 0.23 does itself and no predictor can change are mended here:
* while its slots are taken, and for a moment after an answer went out, it says 409: here requests wait;
* it drops inputs that the schema does not know: here they are a 422 in its own form;
* it says "Prediction failed: Prediction failed: ValueError: …": here the error of an answer, of a stream and of a
  webhook says what is wrong once.
Only the paths of a client are served; `/shutdown` is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, web

from gateway.hooks import Hooks, end_to_end
from gateway.told_once import event_said_once, said_once, whole_lines

logger = logging.getLogger(__name__)

BUSY = 409
MAX_BODY_BYTES = 100 * 2**20  # coglet's own
MAX_WAITING = 64
MAX_WAIT_SECONDS = 600.0
RETRY_SECONDS = 0.005, 0.5  # between two tries at a busy server: the first, and the most
START_SECONDS = 0.1  # between looks whether the server listens


def problem(status: int, message: str) -> web.Response:
    return web.json_response({"detail": message}, status=status)


@dataclass
class Front:
    """Requests on their way to `upstream`, a URL; `own`: where upstream reaches this front; slots: predictions that
    upstream makes at once; `known`: the inputs of its schema, once it was read."""

    upstream: str
    own: str
    slots: int = 1
    max_waiting: int = MAX_WAITING
    max_wait: float = MAX_WAIT_SECONDS
    known: frozenset[str] | None = None
    waiting: int = 0
    hooks: Hooks = field(default_factory=Hooks)

    def __post_init__(self):
        self.turn = asyncio.Semaphore(self.slots)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.cleanup_ctx.append(self.session)
        app.add_routes(
            [
                web.post("/predictions", self.predict),
                web.put("/predictions/{id}", self.predict),
                web.post("/predictions/{id}/cancel", self.forward),
                web.post("/webhooks/{token}", self.hooks.deliver),
                *(web.get(path, self.forward) for path in ("/", "/health-check", "/openapi.json")),
            ]
        )
        return app

    async def session(self, app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(
            self.upstream, timeout=ClientTimeout(total=None), auto_decompress=False
        ) as client:
            self.client = client
            yield

    async def forward(self, request: web.Request) -> web.StreamResponse:
        return await self.send(request, await request.read())

    async def predict(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            return await self.send(request, body)  # which coglet refuses in its own words
        if unknown := await self.unknown_inputs(content.get("input")):
            details = [
                {"loc": ["body", "input", name], "msg": "Unknown input", "type": "value_error.extra"}
                for name in unknown
            ]
            return web.json_response({"detail": details}, status=422)
        if not isinstance(content.get("webhook"), str):
            return await self.send(request, body)
        path = self.hooks.add(content["webhook"])
        answer = await self.send(request, json.dumps(content | {"webhook": f"{self.own}{path}"}).encode())
        if answer.status >= 400:  # nothing was begun
            self.hooks.forget(path)
        return answer

    async def unknown_inputs(self, inputs: object) -> list[str]:
        """Names of inputs that the schema does not have."""
        known = await self.inputs() if isinstance(inputs, dict) else None
        return [name for name in inputs if name not in known] if known else []

    async def inputs(self) -> frozenset[str]:
        """Of the schema that upstream serves; empty while it serves none."""
        if not self.known:
            content = {}
            with contextlib.suppress(ClientConnectionError):
                async with self.client.get("/openapi.json") as answer:
                    content = json.loads(await answer.read()) if answer.status == 200 else {}
            schema = content.get("components", {}).get("schemas", {}).get("Input", {})
            self.known = frozenset(schema.get("properties", {}))
        return self.known

    async def send(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Upstream's answer; a prediction waits for the slot, first come first served."""
        try:
            if request.match_info.handler != self.predict:
                async with self.ask(request, body) as answer:
                    return await relay(request, answer)
            if self.waiting >= self.max_waiting:
                return problem(503, f"{self.waiting} requests are waiting already; try later")
            async with contextlib.AsyncExitStack() as stack:
                self.waiting += 1
                try:
                    async with asyncio.timeout(self.max_wait), self.turn:
                        answer = await self.when_free(stack, request, body)
                except TimeoutError:
                    return problem(503, f"the server was busy for {self.max_wait:g} s; try later")
                finally:
                    self.waiting -= 1
                return await relay(request, answer)
        except ClientConnectionError:
            return problem(502, "the prediction server does not answer")

    async def when_free(self, stack: contextlib.AsyncExitStack, request: web.Request, body: bytes):
        """The answer of the first try that is not told to come back.

        Headers of an answer that is no stream come when it is done, so that the next in line asks when this
        one is over."""
        pause, most = RETRY_SECONDS
        while True:
            answer = await stack.enter_async_context(self.ask(request, body))
            if answer.status != BUSY:
                return answer
            answer.release()
            await asyncio.sleep(pause)
            pause = min(2 * pause, most)

    def ask(self, request: web.Request, body: bytes):
        headers = end_to_end(request.headers)
        return self.client.request(request.method, request.rel_url, data=body or None, headers=headers)


async def relay(request: web.Request, answer) -> web.StreamResponse:
    """`answer` to the client: server-sent events as they come, anything else whole, its error once.

    A client that leaves cancels this, which hangs up on upstream, which then stops."""
    headers = end_to_end(answer.headers)
    if answer.content_type != "text/event-stream":
        return web.Response(status=answer.status, headers=headers, body=said_once(await answer.read()))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for lines in whole_lines(answer.content.iter_any()):
        await response.write(b"\n".join(map(event_said_once, lines.split(b"\n"))))
    await response.write_eof()
    return response


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def serve(host: str, port: int, command: list[str], environment: dict[str, str]) -> int:
    """Run `command`, a coglet, on a port of its own and the front before it until it ends; its status."""
    inner, hooks = free_port(), free_port()
    direct = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    direct = ",".join(filter(None, (direct, "127.0.0.1")))  # its webhooks come to the front
    server = await asyncio.create_subprocess_exec(
        *command,
        *("--host", "127.0.0.1"),
        env=environment | {"PORT": str(inner), "NO_PROXY": direct, "no_proxy": direct},
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.terminate)
    slots = int(environment.get("COG_MAX_CONCURRENCY", "1"))
    front = Front(f"http://127.0.0.1:{inner}", f"http://127.0.0.1:{hooks}", slots)
    runner = web.AppRunner(front.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        while server.returncode is None and not await listens(inner):
            await asyncio.sleep(START_SECONDS)
        await web.TCPSite(runner, "127.0.0.1", hooks).start()
        await web.TCPSite(runner, host, port).start()
        logger.info("front on %s:%d", host, port)
        return await server.wait()
    finally:
        if server.returncode is None:
            server.terminate()
            await server.wait()
        await runner.cleanup()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/serve", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="0.0.0.0")
    options, rest = parser.parse_known_args(arguments)
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    command = [sys.executable, "-m", "cog.server.http", *rest]
    return asyncio.run(serve(options.host, int(os.environ.get("PORT", "5000")), command, dict(os.environ)))


if __name__ == "__main__":
    sys.exit(main())
