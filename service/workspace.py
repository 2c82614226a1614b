"""Where a request's files live."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


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

    def clear(self, keep: Collection[object] = ()) -> None:
        """Remove all but the files in `keep`."""
        kept = {os.path.realpath(path) for path in keep if isinstance(path, os.PathLike)}
        for path in self.folder.iterdir():
            if os.path.realpath(path) in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
