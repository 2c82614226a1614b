"""The HTTP interface in this process, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

BACKLOG = 1024  # connections that may wait to be taken
MAX_OPEN = 1000  # connections
END_SECONDS = 10.0  # that connections are given to end when nothing is under way any more


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ValueError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as e:
        raise ValueError(f"cannot listen on {host}, port {port}: {getattr(e, 'strerror', None) or e}") from e


@contextlib.contextmanager
def listening(application: FastAPI, listener: socket.socket) -> Iterator[asyncio.AbstractEventLoop]:
    """Serve the application; the loop that it runs in. At the end connections are closed."""
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, limit_concurrency=MAX_OPEN,
        timeout_graceful_shutdown=round(END_SECONDS), lifespan="off",
    )  # fmt: skip
    server, started = uvicorn.Server(config), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        started.set()
        await server.serve([listener])

    def run() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="http", daemon=True)
    thread.start()
    started.wait()
    try:
        yield loops[0]
    finally:
        server.should_exit = True
        thread.join()
