"""The real Cog HTTP server as a user starts it (`script/serve`): started, asked, looked at, and stopped."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from gateway.front import free_port

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20
START_SECONDS = 180
ANSWER_SECONDS = 120
BUSY = 409
PAUSE_SECONDS, BUSY_TRIES = 0.02, 250
WORKER = b"coglet.server._run_worker"  # part of the worker's command line


def data_uri(content: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def status_of(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, the state first; none of a process that has ended (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def began_at(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with its id it names it for good. None of one that has ended."""
    fields = status_of(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def children(pid: int) -> Iterator[int]:
    """Process ids whose parent is `pid`."""
    for path in Path("/proc").glob("[0-9]*"):
        fields = status_of(int(path.name))
        if fields and int(fields[1]) == pid:
            yield int(path.name)


def descendants(pid: int) -> dict[int, str]:
    """Those that `pid` started, and those that they did, with when they began."""
    found = {}
    for child in children(pid):
        if began := began_at(child):
            found |= {child: began} | descendants(child)
    return found


def signal_group(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, sign)


class CogServer:
    """`script/serve` with a folder of its own for temporary files; in a `with` statement ready, and stopped
    after it. Raises AssertionError where it cannot start."""

    def __init__(self, temporary: Path, *arguments: str, front: bool = False, **environment: str):
        """front: as users start it; otherwise Cog's server alone, as an image of `cog build` runs it."""
        self.port, self.temporary = free_port(), temporary
        self.log = temporary.parent / f"{temporary.name}.log"
        variables = (
            os.environ
            | {"PORT": str(self.port), "TMPDIR": str(temporary), "INDEXTTS_MODEL": "mini"}
            | environment
        )
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [ROOT / "script/serve", *arguments, *([] if front else ["--bare"]), "--host", "127.0.0.1"],
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> CogServer:
        try:
            return self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *error) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> str:
        try:
            return requests.get(f"{self.url}/health-check", timeout=10).json()["status"]
        except (requests.ConnectionError, requests.Timeout):
            return "UNREACHABLE"

    def wait_until_ready(self) -> CogServer:
        end = time.monotonic() + START_SECONDS
        while (status := self.health()) != "READY":
            assert time.monotonic() < end and self.process.poll() is None and status != "SETUP_FAILED", (
                f"{status}\n{self.log.read_text()[-4000:]}"
            )
            time.sleep(0.2)
        return self

    def worker(self) -> int:
        """Process id of the worker that holds the model; the server does not start another when it dies."""
        found = [
            pid
            for pid in descendants(self.process.pid)
            if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(found) == 1, f"{len(found)} workers"
        return found[0]

    def bare(self) -> CogServer:
        """Cog's server itself, which the front stands before."""
        (cog,) = children(self.process.pid)
        variables = Path(f"/proc/{cog}/environ").read_bytes().split(b"\0")
        (port,) = (
            value for name, _, value in (each.partition(b"=") for each in variables) if name == b"PORT"
        )
        found = copy.copy(self)
        found.port = int(port)
        return found

    def post(self, body: bytes, path: str = "/predictions", **headers: str) -> requests.Response:
        """POST `body`; while the slot is taken, which it is for a moment after an answer went out, again."""
        headers = {
            name.replace("_", "-"): value
            for name, value in ({"Content_Type": "application/json"} | headers).items()
        }
        for _ in range(BUSY_TRIES):
            answer = requests.post(f"{self.url}{path}", data=body, headers=headers, timeout=ANSWER_SECONDS)
            if answer.status_code != BUSY:
                break
            time.sleep(PAUSE_SECONDS)
        return answer

    def send(self, body: bytes, content_type: str = "application/json") -> dict:
        """The prediction's JSON; `status` is succeeded, failed, or http_CODE with the server's detail."""
        answer = self.post(body, Content_Type=content_type)
        try:
            content = answer.json()
        except json.JSONDecodeError:
            content = {"detail": answer.text}
        if answer.status_code == requests.codes.ok:
            return content
        return {"status": f"http_{answer.status_code}", "error": content.get("detail")}

    def predict(self, **inputs) -> dict:
        return self.send(json.dumps({"input": inputs}).encode())

    def left_behind(self) -> list[str]:
        """Files in the server's temporary folder."""
        return sorted(
            path.relative_to(self.temporary).as_posix()
            for path in self.temporary.rglob("*")
            if path.is_file()
        )

    def stop(self) -> None:
        """Ends it with all that it started; nothing of it is left afterwards."""
        started = descendants(self.process.pid)
        signal_group(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("the server of %s does not end by itself", self.log)
        signal_group(self.process.pid, signal.SIGKILL)  # a worker that was loading, or working, goes on alone
        self.process.wait()
        for pid, began in started.items():
            if began_at(pid) == began:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def wave_of(prediction: dict) -> bytes:
    """The file of a prediction that succeeded."""
    assert prediction["status"] == "succeeded", prediction.get("error")
    return base64.b64decode(prediction["output"].split(",", 1)[1])
