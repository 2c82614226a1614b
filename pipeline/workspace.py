"""Where a request's files live."""
from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path


class Workspace:
    """A temporary folder per request. What was returned is read after the request ends, so a folder is
    removed when the next one is asked for, at the latest when the process ends."""

    def __init__(self):
        self.folder: Path | None = None
        atexit.register(self.clear)

    def renew(self) -> Path:
        self.clear()
        self.folder = Path(tempfile.mkdtemp(prefix="indextts-"))
        return self.folder

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
