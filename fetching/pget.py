"""Replicate's `pget`, used for a mirror's large files where it is installed. What it fetches is verified
like everything else, and what it fails at is fetched by our own downloader."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from fetching.http import redact
from fetching.manifest import Transfer
from fetching.retry import Stopped
from pipeline.child_environment import child_environment

logger = logging.getLogger(__name__)

# Beside what every child gets: the way out of this network. The URL it fetches comes through its input.
NETWORK = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
VARIABLES = (*NETWORK, *(name.upper() for name in NETWORK[:3]))
STOP_POLL_SECONDS = 0.1


def pget(url: str, temporary: Path, size: int, transfer: Transfer, stop: threading.Event) -> bool:
    """Fetch `url`, of `size` bytes, to `temporary` with pget; False when it is not installed, fails, or takes
    longer than `transfer.pget_minimum_rate` allows. Raises Stopped, with nothing left behind."""
    program = shutil.which("pget")
    if program is None:
        return False
    seconds = transfer.stall_seconds + size / transfer.pget_minimum_rate
    try:
        problem = _run(program, url, temporary, seconds, stop)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if problem is None and temporary.is_file():
        return True
    temporary.unlink(missing_ok=True)
    logger.warning(
        "pget failed on %s (%s); using our own downloader", redact(url), problem or "it left no file"
    )
    return False


def _run(program: str, url: str, temporary: Path, seconds: float, stop: threading.Event) -> str | None:
    """What went wrong; None for an exit status of 0. The process is gone when this returns."""
    with tempfile.TemporaryFile("w+") as messages:
        # A session of its own, so that all it starts ends with it.
        process = subprocess.Popen(
            [program, "--force", "multifile", "-"],
            text=True,
            cwd=temporary.parent,
            env=child_environment(VARIABLES),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,
        )
        try:
            return _follow(process, f"{url} {temporary.name}\n", seconds, stop) or _ending(
                process.returncode, messages, url
            )
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _follow(process: subprocess.Popen, line: str, seconds: float, stop: threading.Event) -> str | None:
    """Hand `line` over and wait for the end; the problem if there is none in time. Raises Stopped.

    The URL goes through standard input: a signed one has no place in the list of processes. The file is named
    relative to its directory because pget splits the line at spaces."""
    deadline = time.monotonic() + seconds
    assert process.stdin, "it is a pipe"
    try:
        process.stdin.write(line)
        process.stdin.close()
    except BrokenPipeError:
        pass  # its exit status says more
    while process.poll() is None:
        if stop.wait(STOP_POLL_SECONDS):
            raise Stopped
        if time.monotonic() > deadline:
            return f"not done within {seconds:.0f} s"
    return None


def _ending(status: int, messages, url: str) -> str | None:
    if status == 0:
        return None
    messages.seek(0)
    lines = messages.read().strip().replace(url, redact(url)).splitlines() or ["no message"]
    return f"exit status {status}: {lines[-1]}"
