"""Temporary files of a process that may be killed: in a folder that bears its number, so that the next one can tell."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

PREFIX = "indextts-speaker-"
_NAME = re.compile(rf"{PREFIX}(\d+)-.*")


def use_own_folder() -> Path:
    """From now on every temporary file of this process goes into a folder of its own, which goes when it ends; those of
    processes that were killed go now."""
    clear_stale()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tempfile.tempdir = str(folder)
    return folder


def clear_stale() -> None:
    """Remove the folders of processes that are gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        match = _NAME.fullmatch(path.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
