"""Recordings given as URLs: fetched at once, bounded in size, count and time."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fetching.http import Client, redact
from fetching.manifest import Transfer
from fetching.retry import Refused, Retriable, Stopped, retrying

logger = logging.getLogger(__name__)

REPORT_EVERY = 50


@dataclass(frozen=True)
class FetchLimits:
    """count of URLs; bytes of a file and of all; seconds for a file and for all."""

    count: int = 10_000
    file_bytes: int = 200 * 2**20
    total_bytes: int = 20 * 2**30
    file_seconds: float = 120.0
    total_seconds: float = 3600.0
    transfer: Transfer = Transfer(
        connections=8,
        files_at_once=8,
        chunk_bytes=2**20,
        first_bytes=2**20,
        part_bytes_min=2**20,
        part_bytes_max=2**26,
        probe_seconds=5.0,
        connect_seconds=5.0,
        stall_seconds=10.0,
        minimum_rate=1000,
        pget_minimum_rate=0,
        attempts=3,
        backoff_seconds=0.5,
        backoff_limit_seconds=5.0,
        longest_wait_seconds=30.0,
        progress_seconds=5.0,
        spare_bytes=0,
    )


def read_urls(text: str, limits: FetchLimits = FetchLimits()) -> list[str]:
    """The URLs of a list, one a line, each once. Raises ValueError for a line that is none, or too many."""
    urls = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    for number, url in enumerate(urls, 1):
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(
                f"wav_urls: entry {number} is '{redact(url)[:80]}'; allowed: http(s) URLs, one a line"
            )
    if not 1 <= len(urls) <= limits.count:
        raise ValueError(f"wav_urls lists {len(urls):,} URLs; allowed: 1 to {limits.count:,}")
    return urls


def fetch_all(urls: Sequence[str], folder: Path, limits: FetchLimits = FetchLimits()) -> list[str]:
    """Fetch each URL into `folder` as NUMBER.NAME; those that are there stay. Returns what could not be had and why."""
    folder.mkdir(parents=True, exist_ok=True)
    client, stop, total = Client(limits.transfer), threading.Event(), Total(limits)
    problems: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(limits.transfer.files_at_once) as pool:
        try:
            waiting = {
                pool.submit(fetch_one, client, url, folder / file_name(index, url), total, stop): url
                for index, url in enumerate(urls)
            }
            for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
                if (problem := future.result()) is not None:
                    problems.append(problem)
                if done % REPORT_EVERY == 0 or done == len(urls):
                    logger.info("fetched %d of %d, %d failed", done, len(urls), len(problems))
        except BaseException:  # a cancellation is one
            stop.set()
            raise
    return sorted(problems)


class Total:
    """What all fetches together took; `add` is asked before bytes are written. Its time runs from its making."""

    def __init__(self, limits: FetchLimits):
        self.limits, self.bytes, self.start = limits, 0, time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Raises Refused where that is too much."""
        with self._lock:
            self.bytes += count
        if self.bytes > self.limits.total_bytes:
            raise Refused(f"all files together have over {self.limits.total_bytes:,} bytes")
        if time.monotonic() - self.start > self.limits.total_seconds:
            raise Refused(f"all files together took over {self.limits.total_seconds:g} s")

    def give_back(self, count: int) -> None:
        with self._lock:
            self.bytes -= count


def fetch_one(client: Client, url: str, path: Path, total: Total, stop: threading.Event) -> str | None:
    """Why a URL could not be had; None when it is there."""
    if path.exists():
        return None
    limits = total.limits
    partial, deadline = path.with_name(f".{path.name}.part"), time.monotonic() + limits.file_seconds

    def transfer() -> None:
        counted = 0
        try:
            with client.get(url) as body, partial.open("wb") as file:
                received = 0
                for chunk in body.chunks():
                    received += len(chunk)
                    if stop.is_set():
                        raise Stopped
                    if received > limits.file_bytes:
                        raise Refused(f"{redact(url)}: over {limits.file_bytes:,} bytes")
                    if time.monotonic() > deadline:
                        raise Refused(f"{redact(url)}: not there after {limits.file_seconds:g} s")
                    counted = received
                    total.add(len(chunk))
                    file.write(chunk)
                if body.total is not None and received != body.total:
                    raise Retriable(f"{redact(url)}: {received:,} bytes came, {body.total:,} were promised")
            os.replace(partial, path)
        except BaseException:  # what is not kept does not count
            total.give_back(counted)
            raise

    try:
        retrying(transfer, limits.transfer, stop)
    except Refused as e:
        return str(e)
    except Stopped:
        return f"{redact(url)}: stopped"
    finally:
        partial.unlink(missing_ok=True)
    return None


def file_name(index: int, url: str) -> str:
    """A file name of a URL: its number, and of its last part what is harmless."""
    last = urlsplit(url).path.rpartition("/")[2][-60:]
    return f"{index:05d}." + (
        "".join(sign if sign.isalnum() or sign in ".-_" else "_" for sign in last) or "wav"
    )
