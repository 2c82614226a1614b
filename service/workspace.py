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
    """A temporary folder per request. What was returned is read after a request ends, so its folder stays for
    `kept_seconds` more, and goes when another is asked for then, at the latest when the process ends."""

    def __init__(self, kept_seconds: float = 0.0):
        self.kept_seconds = kept_seconds
        self.parent = tempfile.gettempdir()
        self.ended: dict[Path, float] = {}  # when, by time.monotonic
        self.running: set[Path] = set()
        atexit.register(self.clear)

    def renew(self) -> Path:
        """A folder for a request that ends before another is asked for."""
        folder = self._make()
        self.ended[folder] = time.monotonic()
        return folder

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """A new folder for one request; it goes at once if that fails, but not when a client has left a
        stream: what it got is still being read."""
        folder = self._make()
        self.running.add(folder)
        failed = False
        try:
            yield folder
        except GeneratorExit:
            raise
        except BaseException:  # a cancellation is one
            failed = True
            raise
        finally:
            self.running.discard(folder)
            if failed:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self.ended[folder] = time.monotonic()

    def clear(self) -> None:
        """Remove every folder."""
        for path in [*self.ended, *self.running]:
            shutil.rmtree(path, ignore_errors=True)
        self.ended.clear()
        self.running.clear()

    def _make(self) -> Path:
        latest = time.monotonic() - self.kept_seconds
        for path in [path for path, ended in self.ended.items() if ended <= latest]:
            shutil.rmtree(path, ignore_errors=True)
            del self.ended[path]
        return Path(tempfile.mkdtemp(prefix="indextts-", dir=self.parent))


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
        """Remove all but the files in `keep` and those that are younger than `seconds`, which other requests
        may need."""
        kept = {os.path.realpath(path) for path in keep if isinstance(path, os.PathLike)}
        youngest = time.time() - seconds
        for path in self.folder.iterdir():
            if os.path.realpath(path) in kept or (seconds and path.lstat().st_mtime > youngest):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
