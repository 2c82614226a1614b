"""The real Cog HTTP server for tests: started, asked, and stopped."""
from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from tests.conftest import ROOT

START_SECONDS = 180
ANSWER_SECONDS = 120


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def data_uri(content: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


class CogServer:
    """`python -m cog.server.http` in a folder of its own for temporary files."""

    def __init__(self, temporary: Path, stub: str = "predict.py:Predictor", **environment: str):
        self.port, self.temporary = free_port(), temporary
        self.log = temporary.parent / "server.log"
        variables = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PORT": str(self.port),
            "COG_PREDICT_TYPE_STUB": stub, "TMPDIR": str(temporary), "INDEXTTS_MODEL": "mini"} | environment
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1"], cwd=ROOT, env=variables,
            stdout=self.log.open("w"), stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def health(self) -> str:
        try:
            return requests.get(f"{self.url}/health-check", timeout=10).json()["status"]
        except (requests.ConnectionError, requests.Timeout):
            return "UNREACHABLE"

    def wait_until_ready(self) -> "CogServer":
        end = time.monotonic() + START_SECONDS
        while (status := self.health()) != "READY":
            assert time.monotonic() < end and self.process.poll() is None and status != "SETUP_FAILED", (
                f"{status}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.2)
        return self

    def predict(self, **inputs) -> dict:
        """The prediction's JSON; `status` is succeeded, failed, or http_CODE with the server's detail."""
        for _ in range(100):  # the slot is free again a moment after the answer went out
            answer = requests.post(f"{self.url}/predictions", json={"input": inputs}, timeout=ANSWER_SECONDS)
            if answer.status_code != 409:
                break
            time.sleep(0.05)
        try:
            body = answer.json()
        except json.JSONDecodeError:
            body = {"detail": answer.text}
        return body if answer.status_code == 200 else {"status": f"http_{answer.status_code}", "error": body.get("detail")}

    def left_behind(self) -> list[str]:
        """Files in the server's temporary folder, but for the last result's."""
        return sorted(path.relative_to(self.temporary).as_posix() for path in self.temporary.rglob("*") if path.is_file())

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wave_of(prediction: dict) -> bytes:
    """The WAV file of a prediction that succeeded."""
    assert prediction["status"] == "succeeded", prediction.get("error")
    return base64.b64decode(prediction["output"].split(",", 1)[1])
