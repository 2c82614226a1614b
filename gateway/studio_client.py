"""A gateway as the studio talks to it: one that runs, or one of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator

import gradio as gr
import requests

from gateway.local import running

ANSWER_SECONDS = 1200.0
CHUNK_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Server:
    """A gateway as the page talks to it."""

    url: str
    key: str = ""

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def get(self, path: str) -> dict:
        return told(requests.get(f"{self.url}{path}", headers=self.headers(), timeout=ANSWER_SECONDS)).json()

    def voices(self) -> list[dict]:
        return self.get("/v1/audio/voices")["voices"]

    def speak(self, body: dict[str, object]) -> Iterator[dict]:
        """The events of a request for them. Raises gr.Error for one that says what is wrong."""
        url = f"{self.url}/v1/audio/speech"
        with requests.post(
            url, json=body, headers=self.headers(), timeout=ANSWER_SECONDS, stream=True
        ) as answer:
            for line in told(answer).iter_lines(CHUNK_BYTES):
                if line:
                    event = json.loads(line.removeprefix(b"data: "))
                    if event["type"] == "error":
                        raise gr.Error(event["error"]["message"], duration=None, print_exception=False)
                    yield event

    def add(self, path: str, adapter: str | None, **form: str) -> dict:
        with contextlib.ExitStack() as stack:
            files = {"audio_sample": stack.enter_context(open(path, "rb"))}
            if adapter:
                files["adapter"] = stack.enter_context(open(adapter, "rb"))
            url = f"{self.url}/v1/audio/voices"
            answer = requests.post(
                url, data=form, files=files, headers=self.headers(), timeout=ANSWER_SECONDS
            )
        return told(answer).json()

    def delete(self, name: str) -> None:
        told(
            requests.delete(
                f"{self.url}/v1/audio/voices/{name}", headers=self.headers(), timeout=ANSWER_SECONDS
            )
        )


def told(answer: requests.Response) -> requests.Response:
    """The answer; what the server refuses becomes a message on the page."""
    if answer.ok:
        return answer
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"the server says {answer.status_code}"
    raise gr.Error(message, duration=None, print_exception=False)


@contextlib.contextmanager
def started(model: str | None) -> Iterator[Server]:
    """A gateway of one's own, for as long as the page is open."""
    with running(*(["--model", model] if model else [])) as (_, url):
        yield Server(url)
