"""A gateway before many connections at once, and before clients that send or read one byte a second.

python -m checks.crowd --url http://127.0.0.1:8000 --connections 200

All connections ask at the same moment: each has to get the bytes that a quiet request gets, or 429 with
Retry-After. Beside the slow clients a quiet request has to get its bytes. The report is JSON; the status is 1
where something else happened.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests

from checks.chaos import CHEAP, SECONDS

ASKED = CHEAP | {"input": "Hello.", "voice": "george", "seed": 1}
LONG = ASKED | {"input": "\n\n".join(["Good day to you all."] * 12)}
RECEIVE_BYTES = 2048  # of the slow reader's socket: what is not read soon holds the sender up
SLOW_SECONDS = 10.0
PATH = "/v1/audio/speech"


def ask(url: str) -> requests.Response:
    return requests.post(f"{url}{PATH}", json=ASKED, timeout=SECONDS)


@contextlib.contextmanager
def slow_client(url: str, sends_slowly: bool) -> Iterator[list[int]]:
    """A client that reads its answer, or sends its request, a byte a second until the end; the bytes it managed."""
    parts, body, count = urlsplit(url), json.dumps(LONG).encode(), [0]
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    over = threading.Event()
    with socket.create_connection((parts.hostname, parts.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        client.sendall(head.encode() + (b"" if sends_slowly else body))

        def one_by_one() -> None:
            for byte in body:
                if over.wait(1.0):
                    return
                with contextlib.suppress(OSError):
                    count[0] += client.send(bytes([byte])) if sends_slowly else len(client.recv(1))

        thread = threading.Thread(target=one_by_one, daemon=True)
        thread.start()
        yield count
        over.set()
        client.shutdown(socket.SHUT_RDWR)
        thread.join()


def beside_slow(url: str, sends_slowly: bool, quiet: bytes) -> dict[str, object]:
    with slow_client(url, sends_slowly) as count:
        until = time.monotonic() + SECONDS
        while not count[0] and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(SLOW_SECONDS)
        start = time.monotonic()
        same = ask(url).content == quiet
        return {"bytes": count[0], "other_same": same, "other_seconds": round(time.monotonic() - start, 2)}


def at_once(url: str, connections: int, quiet: bytes) -> dict[str, object]:
    barrier, told, wrong = threading.Barrier(connections), collections.Counter(), []

    def one(number: int) -> None:
        barrier.wait()
        try:
            answer = ask(url)
        except requests.RequestException as e:
            wrong.append(f"{number}: {type(e).__name__}")
            return
        told[answer.status_code] += 1
        if answer.status_code == 429:
            good = int(answer.headers.get("Retry-After", "0")) >= 1
        else:
            good = answer.status_code == 200 and answer.content == quiet
        if not good:
            wrong.append(f"{number}: {answer.status_code}")

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(connections) as clients:
        list(clients.map(one, range(connections)))
    return {"statuses": told, "wrong": wrong, "seconds": round(time.monotonic() - start, 1)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m checks.crowd", description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--connections", type=int, default=200)
    options = parser.parse_args(arguments)
    quiet = ask(options.url).content
    crowd = at_once(options.url, options.connections, quiet)
    slow = {
        name: beside_slow(options.url, sends, quiet) for name, sends in (("reads", False), ("sends", True))
    }
    after = ask(options.url).content == quiet
    print(json.dumps({"at_once": crowd, "slow": slow, "same_after": after}, indent=1))
    good = after and not crowd["wrong"] and all(told["other_same"] for told in slow.values())
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
