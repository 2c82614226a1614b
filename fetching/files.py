"""How a file gets its final name, and how two processes do it once."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

logger = logging.getLogger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
LOCK_NAME = ".lock"
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 30


def is_writable(directory: Path) -> bool:
    """Whether files can be made in `directory`, which may not exist yet."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return os.access(existing, os.W_OK | os.X_OK)


def temporary_name(target: Path) -> Path:
    """A unique hidden name beside `target`, on the same file system, so that `install` is one rename."""
    return target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")


def temporaries(target: Path) -> list[Path]:
    """What interrupted processes left of `target`, newest first."""
    found = [path for path in target.parent.glob(f".{target.name}.*.part") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def install(temporary: Path, target: Path) -> None:
    """Give a complete file its final name so that after a crash it is there whole or not at all.

    Its mtime gets whole seconds: archives and image layers drop the fraction, and the
    verified-marker must outlive them."""
    now = int(time.time())
    os.utime(temporary, (now, now))
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, content: object) -> None:
    temporary = temporary_name(path)
    try:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        install(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def directory_lock(directory: Path) -> Iterator[None]:
    """Hold `directory` alone among processes. The kernel frees the lock when its holder dies."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / LOCK_NAME, "w") as file:
        told = time.monotonic() - PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - told >= PATIENCE_SECONDS:
                    told = time.monotonic()
                    logger.info("another process is preparing %s; waiting for it", directory)
                time.sleep(POLL_SECONDS)
        yield
