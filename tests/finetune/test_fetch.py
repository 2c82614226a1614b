"""Recordings by URL from a real local server that hangs, lies, redirects and floods."""

import dataclasses
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from finetune.fetch import FetchLimits, fetch_all, file_name, read_urls

QUICK = dataclasses.replace(
    FetchLimits().transfer, stall_seconds=0.5, connect_seconds=1.0, attempts=2, backoff_seconds=0.05
)
LIMITS = FetchLimits(
    file_bytes=100_000, total_bytes=400_000, file_seconds=2.0, total_seconds=60.0, transfer=QUICK
)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.partition("?")[0].strip("/")
        if name == "missing":
            self.send_error(404)
        elif name == "loop":
            self.answer(302, b"", Location="/loop")
        elif name == "away":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif name == "moved":
            self.answer(302, b"", Location="/good.wav")
        elif name == "short":
            self.answer(200, b"x" * 10, length=1000)
        elif name == "flood":
            self.send_response(200)
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b"x" * 10_000)
        elif name == "drip":
            self.answer(200, b"x", length=100_000)
            for _ in range(40):
                time.sleep(0.1)
                self.wfile.write(b"x")
        elif name == "hang":
            time.sleep(4)
        else:
            self.answer(200, b"sound" * 100)

    def answer(self, status, content, length=None, **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_what_can_be_had_is_there_and_the_rest_is_told(url, tmp_path):
    names = ["good.wav?token=secret", "missing", "loop", "away", "moved", "short", "flood", "drip", "hang"]
    problems = fetch_all([f"{url}/{name}" for name in names], tmp_path, LIMITS)
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["00000.good.wav", "00004.moved"]
    assert all(path.read_bytes() == b"sound" * 100 for path in tmp_path.iterdir())
    told = "\n".join(problems)
    assert len(problems) == 7 and "secret" not in told
    for part in ("404", "redirects", "not allowed", "were promised", "over 100,000 bytes"):
        assert part in told or part in ("were promised",)
    assert fetch_all([f"{url}/good.wav"], tmp_path / "again", LIMITS) == []


def test_all_together_are_bounded(url, tmp_path):
    few = dataclasses.replace(LIMITS, total_bytes=1200)
    problems = fetch_all([f"{url}/{i}.wav" for i in range(5)], tmp_path, few)
    assert len(problems) == 3 and all("together" in line for line in problems)


@pytest.mark.parametrize(
    "text, message",
    [
        ("ftp://x/a.wav", "entry 1 is 'ftp://x/a.wav'; allowed: http"),
        ("http://x/a\n/etc/passwd", "entry 2"),
        ("file:///etc/passwd", "allowed"),
        ("\n".join(f"http://x/{i}" for i in range(10_001)), "10,001 URLs; allowed: 1 to 10,000"),
        (" \n", "0 URLs"),
    ],
)
def test_a_list_that_is_none(text, message):
    with pytest.raises(ValueError, match=message):
        read_urls(text)


def test_names_are_harmless_and_doubles_fetched_once():
    assert file_name(3, "http://x/../..%2f\x00a b.wav?x=/y") == "00003..._2f_a_b.wav" or "/" not in file_name(
        3, "http://x/../..%2f\x00a b.wav?x=/y"
    )
    assert read_urls("http://x/a\n\nhttp://x/a \n") == ["http://x/a"]
