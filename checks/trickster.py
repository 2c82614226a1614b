"""A web server on the loopback address whose answers no client wants, each bounded in time and size."""

from __future__ import annotations

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIP_SECONDS, DRIP_INTERVAL = 0.5, 0.05
LARGE_BYTES = 30_000_000  # above what is taken as a reference
PAGE = b"<!doctype html><title>not audio</title>"
REDIRECTS = {  # where to; {url} is this server
    "/to-a-file": "file:///etc/passwd",
    "/to-data": "data:audio/wav;base64,AAAA",
    "/to-itself": "{url}/to-itself",
    "/to-a-closed-port": "http://127.0.0.1:1/",
    "/to-nowhere": "",
    "/to-a-clip": "{url}/clip.wav",
}


class Trickster(ThreadingHTTPServer):
    """Serves `clip` under /clip.wav and any path that ends in it, and mischief elsewhere, in a `with`."""

    daemon_threads = True

    def __init__(self, clip: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.clip = clip
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Trickster:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Trickster

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in REDIRECTS:
            self.answer(302, b"", Location=REDIRECTS[path].format(url=self.server.url))
        elif path.endswith("clip.wav"):
            self.answer(200, self.server.clip)
        elif path == "/drip":
            self.drip()
        elif path == "/large":
            self.answer(200, gzip.compress(bytes(LARGE_BYTES)), Content_Encoding="gzip")
        elif path == "/cut":
            self.answer(200, self.server.clip, Content_Length=str(2 * len(self.server.clip)))
        elif path == "/not-gzip":
            self.answer(200, PAGE, Content_Encoding="gzip")
        elif path == "/empty":
            self.answer(200, b"")
        elif path == "/page":
            self.answer(200, PAGE)
        elif path == "/no-http":
            self.wfile.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
        elif path == "/hang-up":
            self.close_connection = True
        else:
            self.answer(int(path[1:]) if path[1:].isdigit() else 404, PAGE)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        """Byte by byte, and then less than was promised."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.clip)))
        self.end_headers()
        end = time.monotonic() + DRIP_SECONDS
        for byte in self.server.clip:
            if time.monotonic() > end:
                break
            self.wfile.write(bytes([byte]))
            time.sleep(DRIP_INTERVAL)

    def log_message(self, *arguments: object) -> None:
        """Nothing: the tests print what became of each request."""
