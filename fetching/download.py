"""One file from a URL to a temporary name: parts in parallel, hashed in order as they arrive, resumable.

The parts are written where they belong in one file. The thread of the file follows behind them, reads
what is complete from the start (it is still in memory) and hashes it, so that hashing costs no time of
its own, and has it flushed to disk, so that the last fsync finds little left to do.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Executor, Future, wait
from pathlib import Path

from fetching.http import Body, Client, redact
from fetching.partial import Part, Partial
from fetching.progress import Meter
from fetching.retry import Refused, Retriable, Stopped, retrying
from fetching.verify import HEAD_BYTES, Digest, Expected, Received, impostor

logger = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
FLUSH_BYTES = 64 << 20


class Corrupt(Exception):
    """A file that came, or would come, as something else than expected."""


class Download:
    """Fetches `url` to `self.partial.path`, beside `target`. `stop` ends it from outside."""

    def __init__(self, client: Client, url: str, target: Path, expected: Expected, stop: threading.Event):
        self.client, self.url, self.expected, self.stop = client, url, expected, stop
        self.transfer = client.transfer
        self.name = target.name
        self.partial = Partial(target, expected.sha256 or expected.git_sha1 or redact(url))
        self.direct = url  # where redirects led
        self.opened: Body | None = None  # an answer that holds the whole file
        self.changed = threading.Condition()
        self.error: BaseException | None = None

    def run(self, pool: Executor, meter: Meter) -> Received:
        """Fetch what is missing and hash all of it.

        Raises Corrupt when the server's file cannot be the expected one, NotFound, Refused, Stopped, and
        OSError when the disk refuses."""
        futures: list[Future] = []
        self.direct, self.opened, self.error = self.url, None, None
        file = os.open(self.partial.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._begin(file, meter)
            futures = [
                pool.submit(self._fill, file, part, meter) for part in self.partial.parts if not part.complete
            ]
            return self._follow(file)
        except BaseException as e:
            self._fail(e)
            raise
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
            os.close(file)
            if self.error and not self.partial.have:
                self.partial.discard()  # stopped before the first byte came: nothing to continue
            elif self.error and not isinstance(self.error, OSError):  # a full disk has no room for a note
                self.partial.save()

    def discard(self, meter: Meter) -> None:
        meter.add(-self.partial.have, fetched=False)
        self.partial.discard()

    # --- the first request ----------------------------------------------------------------------

    def _begin(self, file: int, meter: Meter) -> None:
        """Take stock, and make the first request: it shows the length, whether the server does ranges,
        and what the file is."""
        if self.partial.have:
            logger.info("%s: continuing after %d bytes", self.name, self.partial.have)
            meter.add(self.partial.have, fetched=False)
            if self.partial.have == self.partial.total:
                return
        retrying(lambda: self._first_request(file, meter), self.transfer, self.stop)

    def _first_request(self, file: int, meter: Meter) -> None:
        start, partial = self.partial.leading, self.partial
        body = self.client.get(self.url, start, start + self.transfer.first_bytes)
        try:
            self.direct = body.url
            self._check_announced(body)
            partial.etag = body.etag
            total = self.expected.size if body.total is None else body.total
            if not body.ranged:  # only whole files are sent: one part, and this answer holds it
                partial.total, partial.parts = total, [Part(0, total, start)]
                self.opened = body
                return
            content = b"".join(body.chunks())
            assert total is not None, "an answer with a range tells the length"
            if len(content) != min(self.transfer.first_bytes, total - start):
                raise Retriable(f"{redact(self.url)}: the connection ended after {len(content)} bytes")
            if start == 0 and (wrong := impostor(content[:HEAD_BYTES])):
                raise Corrupt(wrong)
            write_at(file, content, start)
            meter.add(len(content))
            partial.parts.append(Part(start, start + len(content), start + len(content)))
            partial.plan(total, self.transfer)
        finally:
            if self.opened is not body:
                body.response.close()

    def _check_announced(self, body: Body) -> None:
        """Refuse at the first answer what cannot be the expected file."""
        if body.total is not None and self.expected.size not in (None, body.total):
            wrong = impostor(next(body.chunks(), b"")[:HEAD_BYTES]) if body.start == 0 else None
            raise Corrupt(f"{wrong or 'a file of another length'}: the server announces {body.total} bytes")
        known = self.partial.total, self.partial.etag
        if self.partial.have and not self.expected.hashed and known != (body.total, body.etag):
            raise Corrupt("a file that changed since its fetch began")

    # --- parts ----------------------------------------------------------------------------------

    def _fill(self, file: int, part: Part, meter: Meter) -> None:
        """Fetch the rest of a part; runs in the pool. What goes wrong ends the whole file."""
        try:
            retrying(lambda: self._request(file, part, meter), self.transfer, self.stop)
        except BaseException as e:
            self._fail(e)

    def _request(self, file: int, part: Part, meter: Meter) -> None:
        with self._get(part) as body:
            if body.total not in (None, self.partial.total):
                raise Corrupt(f"a file of changing length: {self.partial.total} bytes, then {body.total}")
            position = body.start  # before part.done when the server sends whole files only
            for chunk in body.chunks():
                if self.error or self.stop.is_set():
                    return
                chunk = chunk if part.end is None else chunk[: part.end - position]
                fresh = chunk[max(0, part.done - position) :]
                position += len(chunk)
                if fresh:
                    write_at(file, fresh, part.done)
                    meter.add(len(fresh))
                    self._advance(part, part.done + len(fresh))
                if position == part.end:
                    return
        if part.end is not None:
            raise Retriable(f"{redact(self.url)}: the connection ended at byte {position} of {part.end}")
        part.end = position
        self._advance(part, position)

    def _get(self, part: Part) -> Body:
        if self.opened:
            body, self.opened = self.opened, None
            return body
        try:
            return self.client.get(self.direct, part.done, part.end)
        except Refused:
            if self.direct == self.url:
                raise
            body = self.client.get(
                self.url, part.done, part.end
            )  # a signed URL that ran out: ask for another
            self.direct = body.url
            return body

    def _advance(self, part: Part, done: int) -> None:
        with self.changed:
            part.done = done
            self.changed.notify()

    def _fail(self, error: BaseException) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify()

    # --- hashing --------------------------------------------------------------------------------

    def _follow(self, file: int) -> Received:
        """Hash what arrives, in order, until it is all there; flush it and note it down meanwhile."""
        digest, saved = Digest(self.expected, self.partial.total), time.monotonic()
        flusher = Flusher(file)
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.error or self._news(digest.size), SAVE_SECONDS)
                    if self.error:
                        raise self.error
                    leading = self.partial.leading
                    complete = all(part.complete for part in self.partial.parts)
                    if self.stop.is_set() and not complete:  # what is all there costs nothing more to finish
                        raise Stopped
                while digest.size < leading:
                    digest.update(
                        os.pread(file, min(self.transfer.chunk_bytes, leading - digest.size), digest.size)
                    )
                    flusher.reached(digest.size)
                if complete:
                    flusher.close()
                    flusher.reached(digest.size)
                    return digest.received()
                if time.monotonic() - saved >= SAVE_SECONDS:
                    saved = time.monotonic()
                    self.partial.save()
        finally:
            flusher.close()

    def _news(self, hashed: int) -> bool:
        return self.partial.leading > hashed or all(part.complete for part in self.partial.parts)


class Flusher:
    """Writes a file out to disk behind its writer's back, `FLUSH_BYTES` at a time. Left alone, the kernel
    keeps gigabytes in memory and the last fsync takes as long again as the transfer."""

    def __init__(self, file: int):
        self.file, self.next, self.closed = file, FLUSH_BYTES, False
        self.error: OSError | None = None
        self.due = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def reached(self, position: int) -> None:
        """Flush when enough has come since. Raises OSError when the disk refused what came before."""
        if self.error:  # the kernel tells a failed write-back once: the final fsync may not hear of it
            raise self.error
        if position >= self.next:
            self.next = position + FLUSH_BYTES
            self.due.set()

    def close(self) -> None:
        self.closed = True
        self.due.set()
        self.thread.join()

    def _run(self) -> None:
        while self.due.wait() and not self.closed:
            self.due.clear()
            try:
                os.fdatasync(self.file)
            except OSError as e:
                self.error = e
                return


def write_at(file: int, content: bytes, position: int) -> None:
    view = memoryview(content)
    while view:
        count = os.pwrite(file, view, position)
        view, position = view[count:], position + count
