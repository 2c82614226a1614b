"""When to try again: what may pass, how long to wait, and when to give up."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from fetching.manifest import Transfer

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRIED = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may pass


class Refused(Exception):
    """A request that will not succeed by trying again."""


class NotFound(Refused):
    """The server says that the file does not exist."""


class Retriable(Exception):
    """A request that may succeed later: in `after` seconds if the server said so."""

    def __init__(self, message: str, after: float | None = None):
        super().__init__(message)
        self.after = after


class Stopped(Exception):
    """Another part of the work failed or was interrupted."""


def retry_later(message: str, retry_after: str | None, transfer: Transfer) -> Exception:
    """Retriable after the time the server asks for, Refused when that is too long to wait."""
    after = seconds_until(retry_after)
    if after is not None and after > transfer.longest_wait_seconds:
        return Refused(f"{message}; the server asks to wait {after:.0f} s")
    return Retriable(message, after)


def seconds_until(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds from now: it is a number of seconds or a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def retrying(action: Callable[[], T], transfer: Transfer, stop: threading.Event) -> T:
    """`action()`, again after each Retriable with a doubling pause (or the one the server asks for).

    Raises Refused after `transfer.attempts`, Stopped when `stop` is set."""
    for attempt in range(1, transfer.attempts + 1):
        if stop.is_set():
            raise Stopped
        try:
            return action()
        except Retriable as e:
            if attempt == transfer.attempts:
                raise Refused(f"{e} (gave up after {attempt} attempts)") from e
            pause = min(transfer.backoff_limit_seconds, transfer.backoff_seconds * 2 ** (attempt - 1))
            wait = random.uniform(pause / 2, pause) if e.after is None else e.after
            logger.warning("%s; attempt %d of %d in %.1f s", e, attempt + 1, transfer.attempts, wait)
            stop.wait(wait)
    raise AssertionError("transfer.attempts is at least 1")
