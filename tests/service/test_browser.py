"""The streaming client of the README, as it stands there, in a real browser."""

import json
import queue
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from checks.hostile import clip_of
from tests.conftest import ROOT
from tests.service.server import ANSWER_SECONDS, CogServer, data_uri

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
TEXT = "One fox ran over the hill.\n\nTwo dogs slept in the sun.\n\nThree cats sat on the wall."
PAGE = """<!doctype html><script type="module">
const played = [], report = (path, content) => fetch(path, {method: "POST", body: JSON.stringify(content)});
const play = uri => played.push(new Promise((done, fail) => {
  const audio = new Audio(uri);
  audio.onloadedmetadata = () => done(audio.duration);
  audio.onerror = () => fail(new Error("not a sound: " + uri.slice(0, 40)));
}));
try {
  const {text, speaker} = await (await fetch("/inputs")).json();
  SNIPPET
  await report("/played", await Promise.all(played));
} catch (error) { await report("/played", String(error)); }
</script>"""


class Site(ThreadingHTTPServer):
    """The page and, of the same origin as in the README, the server's `/predictions`."""

    daemon_threads = True

    def __init__(self, upstream: str, page: str, inputs: dict):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.page, self.inputs = upstream, page, inputs
        self.told: queue.Queue = queue.Queue()
        self.outputs = 0


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        if self.path == "/inputs":
            self.answer("application/json", json.dumps(self.server.inputs))
        else:
            self.answer("text/html", self.server.page)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/played":
            self.answer("text/plain", "")
            return self.server.told.put(json.loads(body))
        headers = {name: self.headers[name] for name in ("Content-Type", "Accept")}
        url = self.server.upstream + self.path
        with requests.post(url, body, headers=headers, stream=True, timeout=ANSWER_SECONDS) as answer:
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            for line in answer.iter_lines(delimiter=b"\n"):
                self.server.outputs += line == b"event: output"
                self.wfile.write(line + b"\n")
                self.wfile.flush()

    def answer(self, kind: str, content: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    with CogServer(tmp_path_factory.mktemp("browser"), "--stream") as server:
        yield server.url


def played(site: Site, profile: Path) -> object:
    """What the page reports, when it is done."""
    threading.Thread(target=site.serve_forever, daemon=True).start()
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        [*command, f"http://127.0.0.1:{site.server_port}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return site.told.get(timeout=2 * ANSWER_SECONDS)
    finally:
        browser.terminate()
        browser.wait()
        site.shutdown()
        site.server_close()


def test_the_client_of_the_readme_plays_every_segment_once(upstream, tmp_path):
    (snippet,) = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    inputs = {"text": TEXT, "speaker": data_uri(clip_of())}
    site = Site(upstream, PAGE.replace("SNIPPET", snippet), inputs)
    durations = played(site, tmp_path)
    assert isinstance(durations, list), durations
    assert site.outputs >= 3 and len(durations) == site.outputs and min(durations) > 0.1
