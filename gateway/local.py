"""A gateway on this machine, in a process and a session of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests

from gateway.front import free_port

LOOK_SECONDS, ANSWER_SECONDS = 0.2, 5.0


@contextlib.contextmanager
def running(
    *arguments: str,
    speakers: int = 1,
    start_seconds: float = 600.0,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    quiet: bool = False,
) -> Iterator[tuple[subprocess.Popen, str]]:
    """(process, URL) of a gateway with `arguments` of `gateway.run` once so many speakers are ready; stopped
    afterwards, or when this process ends in whatever way.

    `environment` and working `folder`: its own where given; quiet: what it prints is not shown. Raises ValueError when
    it does not start."""
    port, output = free_port(), subprocess.DEVNULL if quiet else None
    command = [sys.executable, "-m", "gateway.run", "--port", str(port), "--until-stdin-ends", *arguments]
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=output,
        start_new_session=True,
    )  # fmt: skip
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + start_seconds
    try:
        while not ready(url, speakers):
            if process.poll() is not None or time.monotonic() > until:
                raise ValueError("the gateway did not start; script/gateway says why")
            time.sleep(LOOK_SECONDS)
        yield process, url
    finally:
        process.terminate()
        process.wait()


def ready(url: str, speakers: int) -> bool:
    """Whether the gateway there has so many speakers."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/ready", timeout=ANSWER_SECONDS).json()["speakers"] >= speakers
    return False
