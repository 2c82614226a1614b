"""The README's streaming client in a real Chromium, against the real streaming server."""

import base64
import hashlib
import http.client
import json
import queue
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from checks.hostile import clip_of
from checks.server import data_uri
from tests.service.server import ANSWER_SECONDS, CogServer
from tests.snippets import snippets

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TEXT = "One fox ran over the hill.\n\nTwo dogs slept in the sun.\n\nThree cats sat on the wall."
# Around the README's code: what was played (when, length, hash of its samples), and how it ended.
PAGE = """<!doctype html><meta charset="utf-8"><script>
const played = [], start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  const samples = new Float32Array(this.buffer.getChannelData(0));
  played.push({when, duration: this.buffer.duration, samples});
  return start.call(this, when);
};
const hex = bytes => [...new Uint8Array(bytes)].map(b => b.toString(16).padStart(2, "0")).join("");
const sha256 = async samples => hex(await crypto.subtle.digest("SHA-256", samples));
README
(async () => {
  let error = null;
  try { await speak(INPUT); } catch (e) { error = String(e.message ?? e); }
  const told = [];
  for (const {when, duration, samples} of played)
    told.push({when, duration, sha256: await sha256(samples)});
  await fetch("/done", {method: "POST", body: JSON.stringify({error, played: told})});
})();
</script>"""


class Site(ThreadingHTTPServer):
    """One origin for the page and the server behind it; `told`: what pages have posted to /done."""

    daemon_threads = True

    def __init__(self, port: int, page: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.page, self.told, self.streams = port, page, queue.Queue(), []


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.page.encode() if self.path == "/" else b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/done":
            self.server.told.put(json.loads(body))
            self.send_response(204)
            self.end_headers()
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=ANSWER_SECONDS)
        headers = {name: self.headers[name] for name in ("Content-Type", "Accept")}
        upstream.request("POST", self.path, body, headers)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.end_headers()
        content = b""
        while piece := answer.read1(1 << 16):
            content += piece
            self.wfile.write(piece)
            self.wfile.flush()
        self.server.streams.append(content.decode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here; script/test -m browser installs it")
    with CogServer(tmp_path_factory.mktemp("browser"), "--stream", INDEXTTS_MODEL="mini") as server:
        yield server


def browse(streaming: CogServer, profile, inputs: dict) -> tuple[dict, list[dict]]:
    """What the page told, and the events that were sent to it."""
    streaming.wait_until_ready()
    (code,) = snippets("js")
    site = Site(streaming.port, PAGE.replace("README", code.code).replace("INPUT", json.dumps(inputs)))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    browser = subprocess.Popen(
        [
            CHROMIUM,
            *flags,
            "--autoplay-policy=no-user-gesture-required",
            f"--user-data-dir={profile}",
            f"http://127.0.0.1:{site.server_port}/",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = site.told.get(timeout=ANSWER_SECONDS)
    finally:
        browser.terminate()
        browser.wait(20)
        site.shutdown()
        site.server_close()
    lines = "".join(site.streams).splitlines()
    return told, [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_each_segment_is_played_once_and_in_order(streaming, tmp_path):
    speaker = data_uri(clip_of())
    quick = {"num_beams": 1, "diffusion_steps": 1, "max_mel_tokens": 50, "seed": 7}
    told, events = browse(streaming, tmp_path, {"text": TEXT, "speaker": speaker} | quick)
    chunks = [event["chunk"] for event in events if "chunk" in event]
    assert told["error"] is None and len(chunks) >= 3
    assert len(told["played"]) == len(chunks)
    lengths = [(len(base64.b64decode(chunk.split(",", 1)[1])) - 44) / 2 / 22050 for chunk in chunks]
    assert [play["duration"] for play in told["played"]] == pytest.approx(lengths, abs=1e-3)
    contents = {hashlib.sha256(chunk.encode()).hexdigest() for chunk in chunks}
    assert len({play["sha256"] for play in told["played"]}) == len(contents)
    ends = [play["when"] + play["duration"] for play in told["played"]]
    assert all(later["when"] >= end - 1e-6 for later, end in zip(told["played"][1:], ends, strict=False))
    assert events[-1]["status"] == "succeeded" and len(events[-1]["output"]) == len(chunks)


@pytest.mark.parametrize(
    "change, message", [({"text": "?!"}, "nothing to read aloud"), ({"num_beams": 9}, "maximum of 8")]
)
def test_a_request_that_fails_plays_nothing_and_says_why(streaming, tmp_path, change, message):
    told, _ = browse(streaming, tmp_path, {"text": TEXT, "speaker": data_uri(clip_of())} | change)
    assert told["played"] == [] and message in told["error"]
