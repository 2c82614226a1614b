"""How far a fetch is: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)

UNITS = ("B", "kB", "MB", "GB", "TB")


def in_bytes(count: float) -> str:
    """`count` bytes for a person: 3 digits, decimal units."""
    for unit in UNITS:
        if abs(count) < 999.5 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"


def in_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min"
        if hours
        else f"{minutes} min {seconds:02d} s"
        if minutes
        else f"{seconds} s"
    )


class Meter:
    """Counts the bytes of a fetch, from any thread, and shows them."""

    def __init__(self, total: int, every_seconds: float):
        self.total, self.every = total, every_seconds
        self.done = self.fetched = 0
        self.began = self.told = time.monotonic()
        self.lock = threading.Lock()
        self.bar = tqdm(total=total, unit="B", unit_scale=True, desc="fetch") if sys.stderr.isatty() else None

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_) -> None:
        if self.bar:
            self.bar.close()
        elif self.fetched:
            logger.info(
                "fetched %s in %s, %s/s",
                in_bytes(self.fetched),
                in_time(time.monotonic() - self.began),
                in_bytes(self.rate()),
            )

    def add(self, count: int, fetched: bool = True) -> None:
        """`count` more bytes are there; `fetched` is False for those an earlier process had fetched."""
        with self.lock:
            self.done += count
            self.fetched += count if fetched else 0
            due = time.monotonic() - self.told >= self.every
            if due:
                self.told = time.monotonic()
        if self.bar:
            self.bar.update(count)
        elif due:
            logger.info("%s", self.line())

    def rate(self) -> float:
        return self.fetched / max(time.monotonic() - self.began, 1e-6)

    def line(self) -> str:
        """For example: fetch: 3.41 GB of 7.9 GB (43 %), 512 MB/s, 9 s left"""
        if not self.total:
            return f"fetch: {in_bytes(self.done)}, {in_bytes(self.rate())}/s"
        left = in_time(max(self.total - self.done, 0) / self.rate()) if self.fetched else "unknown time"
        return (
            f"fetch: {in_bytes(self.done)} of {in_bytes(self.total)} ({100 * self.done / self.total:.0f} %), "
            f"{in_bytes(self.rate())}/s, {left} left"
        )
