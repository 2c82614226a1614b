"""One file from one source, given its name only when it is right."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Executor
from pathlib import Path

from fetching.download import Corrupt, Download
from fetching.files import install
from fetching.http import redact
from fetching.manifest import Entry
from fetching.partial import delete
from fetching.pget import pget
from fetching.progress import Meter, in_bytes
from fetching.sources import Mirror, Source
from fetching.store import Store
from fetching.verify import HEAD_BYTES, Expected, Received, defect, hash_file, impostor

logger = logging.getLogger(__name__)

TRIES = 2  # of a file that comes wrong


def obtain(
    store: Store,
    source: Source,
    entry: Entry,
    expected: Expected,
    stop: threading.Event,
    parts: Executor,
    meter: Meter,
) -> None:
    """Fetch `entry`, compare it, install it and record it; once more when what came was wrong.

    Raises Corrupt with the URL, what was expected and what came; Refused; Stopped; OSError."""
    target, url = store.path(entry), source.url(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    job = Download(source.client, url, target, expected, stop)
    for attempt in range(1, TRIES + 1):
        try:
            received = receive(source, job, parts, meter)
            wrong, came = judge(job.partial.path, entry, expected, received), f", came {received}"
        except Corrupt as e:
            wrong, came = str(e), ""
        except OSError:
            job.discard(meter)  # leave no full disk behind
            raise
        if wrong is None:
            install(job.partial.path, target)
            delete(job.partial.path)
            store.record(entry, received, expected.trust)
            logger.info(
                "%s: %s from %s; verified by %s",
                entry.path,
                in_bytes(received.size),
                source.label,
                expected.trust,
            )
            return
        job.discard(meter)
        message = f"{redact(url)}: {wrong}; expected {expected} ({expected.trust}){came}"
        if attempt == TRIES:
            raise Corrupt(f"{message}, {TRIES} times")
        logger.warning("%s; fetching it again", message)


def receive(source: Source, job: Download, parts: Executor, meter: Meter) -> Received:
    size, path = job.expected.size or 0, job.partial.path
    fresh = size >= job.transfer.part_bytes_min and isinstance(source, Mirror) and not job.partial.have
    if fresh and pget(job.url, path, size, job.transfer, job.stop):
        meter.add(path.stat().st_size)
        return hash_file(path, job.expected)
    return job.run(parts, meter)


def judge(path: Path, entry: Entry, expected: Expected, received: Received) -> str | None:
    """What is wrong with the file at `path`, to be called by the entry's name; None when it is right."""
    if not received.matches(expected):
        with open(path, "rb") as file:
            wrong = impostor(file.read(HEAD_BYTES))
        return wrong or ("wrong length" if expected.size not in (None, received.size) else "wrong content")
    return None if expected.hashed else defect(path, entry.path)
