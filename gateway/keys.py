"""Who may ask, and how often: API keys, of which only hashes are kept, and a rate per key.

The file has a line per key: its name, the sha256 of the key, and, if need be, requests a minute of its own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.problem import Problem

PREFIX = "sk-"
KEY_BYTES = 32
MAX_CALLERS = 10_000  # whose rate is remembered
MINUTE = 60.0
_LINE = re.compile(r"(\S+) +([0-9a-f]{64})(?: +([0-9]{1,7}))?")


@dataclass(frozen=True)
class Caller:
    """name: of the key, or the address of who needs none; rate: requests a minute, 0 for any."""

    name: str
    rate: int


def new_key(path: Path, name: str) -> str:
    """A new key, whose hash is added to the file; it is shown this once."""
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ValueError(f"the name of a key is {name[:40]!r}; allowed: 1 to 64 letters, digits, _, . and -")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{name} {digest(key)}\n")
    path.chmod(0o600)
    return key


def digest(key: str) -> str:
    # A plain hash suffices: a key is 256 random bits, nothing one could guess.
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path, rate: int) -> dict[str, Caller]:
    """Callers by hash. Raises ValueError naming a line that is none."""
    callers = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{path.name}, line {number}: allowed: NAME SHA256 [REQUESTS_A_MINUTE]")
        callers[match[2]] = Caller(match[1], int(match[3]) if match[3] else rate)
    return callers


class Keys:
    """Keys of a file, read again when it changes; without a file everyone may ask."""

    def __init__(self, path: Path | None, rate: int, now: Callable[[], float] = time.monotonic):
        self.path, self.rate, self.now = path, rate, now
        self.changed = -1.0
        self.callers: dict[str, Caller] = {}
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, at what time

    def caller(self, authorization: str | None, address: str) -> Caller:
        """Raises Problem for a key that is missing or wrong."""
        if self.path is None:
            return Caller(address, self.rate)
        changed = self.path.stat().st_mtime_ns
        if changed != self.changed:
            self.callers, self.changed = read_keys(self.path, self.rate), changed
        kind, _, key = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and (caller := self.callers.get(digest(key.strip()))):
            return caller
        raise Problem(
            401,
            "the API key is missing or wrong; send it as Authorization: Bearer KEY",
            code="invalid_api_key",
        )

    def admit(self, caller: Caller) -> None:
        """Count a request. Raises Problem with Retry-After beyond the caller's rate."""
        if not caller.rate:
            return
        now = self.now()
        left, then = self.buckets.get(caller.name, (float(caller.rate), now))
        left = min(float(caller.rate), left + (now - then) * caller.rate / MINUTE)
        if left < 1:
            wait = (1 - left) * MINUTE / caller.rate
            raise Problem(
                429, f"more than {caller.rate} requests a minute", code="rate_limit_exceeded",
                headers={"Retry-After": str(max(1, round(wait)))},
            )  # fmt: skip
        self.buckets[caller.name] = (left - 1, now)
        self.buckets.move_to_end(caller.name)
        while len(self.buckets) > MAX_CALLERS:
            self.buckets.popitem(last=False)
