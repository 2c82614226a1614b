"""Temporary files of a process that may be killed: in a folder that bears its number, so that the next one can tell."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

PREFIX = "indextts-speaker-"
STUDIO_PREFIX = "indextts-studio-"
WAY_PREFIX = "indextts-ray-"  # of a short way to a folder whose path is long
PREFIXES = (PREFIX, STUDIO_PREFIX, WAY_PREFIX)
_NAME = re.compile(rf"(?:{'|'.join(PREFIXES)})(\d+)(?:-.*)?")


def use_own_folder(prefix: str = PREFIX) -> Path:
    """From now on every temporary file of this process goes into a folder of its own, which goes when it ends; those of
    processes that were killed go now."""
    clear_stale()
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tempfile.tempdir = str(folder)
    return folder


def short_way(folder: Path, place: Path) -> Path:
    """A link in `place` to `folder`, for as long as this process lives. Raises OSError."""
    clear_stale(place)
    link = place / f"{WAY_PREFIX}{os.getpid()}"
    link.symlink_to(folder, target_is_directory=True)
    atexit.register(link.unlink, missing_ok=True)
    return link


def clear_stale(place: Path | None = None) -> None:
    """Remove what processes that are gone have left in `place`, or where temporary files lie."""
    place = place or Path(tempfile.gettempdir())
    for path in (found for prefix in PREFIXES for found in place.glob(f"{prefix}*")):
        match = _NAME.fullmatch(path.name)
        if not match or Path(f"/proc/{match[1]}").exists():
            continue
        if path.is_symlink():
            with contextlib.suppress(OSError):
                path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)
