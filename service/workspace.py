"""Where a request's files live."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_SECONDS = 120.0


class Workspace:
    """A temporary folder per request. What was returned is read after the request ends, so a folder is
    removed when the next one is asked for, at the latest when the process ends."""

    def __init__(self):
        self.folder: Path | None = None
        self.parent = tempfile.gettempdir()
        atexit.register(self.clear)

    def renew(self) -> Path:
        self.clear()
        self.folder = Path(tempfile.mkdtemp(prefix="indextts-", dir=self.parent))
        return self.folder

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """A new folder for one request; it goes at once if that fails, but not when a client has left a
        stream: what it got is still being read."""
        folder = self.renew()
        try:
            yield folder
        except GeneratorExit:
            raise
        except BaseException:  # a cancellation is one
            self.clear()
            raise

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


class Workspaces:
    """Folders of several requests at a time. What was returned is read after a request ends, so its folder stays for
    KEPT_SECONDS more, and goes when another is asked for then, at the latest when the process ends."""

    def __init__(self):
        self.parent = tempfile.gettempdir()
        self.ended: dict[Path, float] = {}
        self.running: set[Path] = set()
        atexit.register(self.clear)

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """A new folder for one request; it goes at once if that fails."""
        self.clear(before=time.monotonic() - KEPT_SECONDS)
        folder = Path(tempfile.mkdtemp(prefix="indextts-", dir=self.parent))
        self.running.add(folder)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        else:
            self.ended[folder] = time.monotonic()
        finally:
            self.running.discard(folder)

    def clear(self, before: float | None = None) -> None:
        """Remove folders of requests that ended before, by time.monotonic; None: all there are."""
        gone = [path for path, ended in self.ended.items() if before is None or ended < before]
        for path in [*gone, *(self.running if before is None else ())]:
            shutil.rmtree(path, ignore_errors=True)
            self.ended.pop(path, None)


class Inbox:
    """A folder that, once it is open, this process's temporary files go to, so that what a server leaves
    behind there, such as half a download, can be removed. It goes when the process ends."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="indextts-inbox-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    def open(self) -> Inbox:
        """From now on every temporary file of this process goes here (`tempfile.tempdir`)."""
        tempfile.tempdir = str(self.folder)
        return self

    def clear(self, keep: Collection[object] = (), seconds: float = 0.0) -> None:
        """Remove all but the files in `keep` and those that are younger than `seconds`, which other requests may need."""
        kept = {os.path.realpath(path) for path in keep if isinstance(path, os.PathLike)}
        youngest = time.time() - seconds
        for path in self.folder.iterdir():
            if os.path.realpath(path) in kept or (seconds and path.lstat().st_mtime > youngest):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
