"""A real HTTP server on loopback that behaves like a model hub, its CDN, and a bucket, and misbehaves on
order.

Hub (`hub_url`):    HEAD/GET /REPOSITORY/resolve/REVISION/FILE. Large files answer with a redirect to the CDN
                    (another port) and the X-Linked-* headers, small ones with their content and git's hash.
CDN:                GET /cdn/REPOSITORY/FILE?signature=…, with ranges.
Bucket (`mirror_url`): HEAD/GET /bucket/PATH, with ranges.

`faults[NAME]` is a list of `Fault`s, one used up per GET of content of that name (its path in the
repository or bucket); `bytes_sent[NAME]` counts what left for it, `requests` keeps every request.

    python -m tests.weights.server DIRECTORY      serves a directory as a bucket, for measurements
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "abcd"
LARGE = 4096  # bytes from which the hub keeps a file in its large-file storage
CHUNK = 1 << 16


@dataclass
class Fault:
    """What goes wrong with one answer. Only the named things change."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None  # sent instead of the file (ranges apply to it)
    cut: int | None = None  # close the connection after so many bytes
    pause: float = 0.0  # seconds before every byte
    ranges: bool = True  # False: answer 200 with everything
    length: bool = True  # False: no Content-Length
    hold: threading.Event | None = None  # wait for it after `cut` bytes instead of closing


@dataclass
class Request:
    method: str
    path: str
    port: int
    range: str | None
    authorization: str | None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.owner.requests.append(
            Request(
                self.command,
                path,
                self.server.server_port,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
            )
        )
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        try:
            if self.owner.redirect and not path.startswith("/cdn/"):
                self.simple(302, {"Location": self.owner.redirect + path})
            elif resolve and self.server is self.owner.hub:
                self.from_hub(*resolve.groups())
            elif path.startswith("/cdn/") and self.server is self.owner.cdn:
                owner, name, file = path.removeprefix("/cdn/").split("/", 2)
                self.content(self.owner.hub_name(f"{owner}/{name}", file), self.owner.hub_files)
            elif path.startswith("/bucket/"):
                self.content(path.removeprefix("/bucket/"), self.owner.bucket_files)
            else:
                self.simple(404)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def from_hub(self, repository: str, revision: str, file: str) -> None:
        name = self.owner.hub_name(repository, file)
        data = self.owner.hub_files.get(name)
        if self.owner.token and self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            return self.simple(401, {"X-Error-Code": "GatedRepo"})
        if data is None or repository not in self.owner.repositories:
            return self.simple(404, {"X-Error-Code": "EntryNotFound"})
        if revision not in ("main", COMMIT):
            return self.simple(404, {"X-Error-Code": "RevisionNotFound"})
        self.extra = {"X-Repo-Commit": COMMIT}
        if len(data) < LARGE:
            self.extra["ETag"] = f'"{hashlib.sha1(b"blob %d" % len(data) + bytes(1) + data).hexdigest()}"'
            return self.content(name, self.owner.hub_files)
        self.extra |= {
            "X-Linked-Size": str(len(data)),
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
        }
        self.simple(
            302, {"Location": f"{self.owner.cdn_url}/cdn/{repository}/{file}?signature=secret", **self.extra}
        )

    def content(self, name: str, files: dict[str, bytes]) -> None:
        """Send a file, a range of it, or what a fault makes of it."""
        data: bytes | None = files.get(name)
        faults = self.owner.faults[name] if self.command == "GET" else self.owner.head_faults[name]
        with self.owner.guard:
            fault = faults.pop(0) if faults else Fault()
        if fault.body is not None:
            data = fault.body
        if fault.status:
            return self.simple(fault.status, fault.headers)
        if data is None:
            return self.simple(404)
        start, end, status = 0, len(data), 200
        headers = dict(self.extra, **fault.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted and fault.ranges and self.owner.ranges:
            start, end, status = int(wanted[1]), min(len(data), int(wanted[2] or len(data)) + 1), 206
            if start >= len(data):
                return self.simple(416)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        self.send_response(status)
        for key, value in (
            {"Content-Length": str(end - start)} if fault.length else {}
        ).items() | headers.items():
            self.send_header(key, value)
        if not fault.length:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.send_body(name, data, start, end, fault)

    def send_body(self, name: str, data: bytes, start: int, end: int, fault: Fault) -> None:
        step = 1 if fault.pause else CHUNK
        for position in range(start, end, step):
            piece = data[position : min(position + step, end)]
            if fault.cut is not None and position + len(piece) - start > fault.cut:
                piece = piece[: max(0, fault.cut - (position - start))]
            if fault.pause and self.owner.closing.wait(fault.pause):
                break
            self.wfile.write(piece)
            with self.owner.guard:
                self.owner.bytes_sent[name] += len(piece)
            if fault.cut is not None and position + len(piece) - start >= fault.cut:
                self.wfile.flush()
                self.owner.reached.set()
                if fault.hold:
                    fault.hold.wait()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return

    extra: dict[str, str] = {}

    def simple(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()


class QuietServer(ThreadingHTTPServer):
    """Clients that are killed in the middle are what some tests are about."""

    def handle_error(self, request, address) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, address)


class Server:
    """Use as a context manager. `hub_files`: REPOSITORY/FILE -> content, or FILE -> content for one that is
    the same in all `repositories`."""

    def __init__(self) -> None:
        self.hub_files: dict[str, bytes] = {}
        self.bucket_files: dict[str, bytes] = {}
        self.repositories = {"org/model"}
        self.token: str | None = None
        self.redirect: str | None = None  # send every request there first
        self.ranges = True
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.head_faults: dict[str, list[Fault]] = defaultdict(list)
        self.bytes_sent: dict[str, int] = defaultdict(int)
        self.requests: list[Request] = []
        self.reached, self.closing = threading.Event(), threading.Event()
        self.guard = threading.Lock()
        handler = type("OwnedHandler", (Handler,), {"owner": self})
        self.hub, self.cdn = (QuietServer(("127.0.0.1", 0), handler) for _ in range(2))
        self.hub_url = f"http://127.0.0.1:{self.hub.server_port}"
        self.cdn_url = f"http://127.0.0.1:{self.cdn.server_port}"
        self.mirror_url = f"{self.hub_url}/bucket"

    def __enter__(self) -> Server:
        for server in (self.hub, self.cdn):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()

    def hub_name(self, repository: str, file: str) -> str:
        full = f"{repository}/{file}"
        return full if full in self.hub_files else file

    def gets(self, name: str) -> list[Request]:
        return [
            request
            for request in self.requests
            if request.method == "GET" and request.path.endswith("/" + name)
        ]


# --- for measurements -------------------------------------------------------------------------


class DirectoryHandler(BaseHTTPRequestHandler):
    """A directory with ranges, sent by the kernel, so that the server is not what is measured."""

    protocol_version = "HTTP/1.1"
    root: Path

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.root / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, end = (int(wanted[1]), min(size, int(wanted[2] or size) + 1)) if wanted else (0, size)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.flush()
            with open(path, "rb") as file:
                while start < end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)


def serve_directory(root: Path) -> None:
    handler = type("RootedHandler", (DirectoryHandler,), {"root": root})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve_directory(Path(sys.argv[1]))
