"""The real Cog HTTP server as a user starts it (`script/serve`): started, asked, looked at, and stopped."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from gateway.front import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180
ANSWER_SECONDS = 120
BUSY = 409
PAUSE_SECONDS, BUSY_TRIES = 0.02, 250
WORKER = b"coglet.server._run_worker"  # part of the worker's command line


def data_uri(content: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def children(pid: int) -> Iterator[int]:
    """Process ids whose parent is `pid` (Linux)."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == pid:
            yield int(status.parent.name)


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
            pid for pid in children(self.process.pid) if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(found) == 1, f"{len(found)} workers"
        return found[0]

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
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wave_of(prediction: dict) -> bytes:
    """The file of a prediction that succeeded."""
    assert prediction["status"] == "succeeded", prediction.get("error")
    return base64.b64decode(prediction["output"].split(",", 1)[1])
