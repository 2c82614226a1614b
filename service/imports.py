"""Packages that take long to import and that no module here needs before a request: brought in by another
thread while the model is loaded.

A served request must import nothing: a cancellation in the middle of an import leaves a package half made.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence

NEEDED = ("wetext",)  # by every request
ALL = (*NEEDED, "pyloudnorm")


class Imports:
    """Imports under way. `wait` before the first request."""

    def __init__(self, names: Sequence[str] = ALL):
        self._error: ImportError | None = None
        self._thread = threading.Thread(target=self._run, args=(names,), name="imports", daemon=True)
        self._thread.start()

    def _run(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                importlib.import_module(name)
        except ImportError as e:
            self._error = e

    def wait(self) -> None:
        """Until all are there. Raises the ImportError of one that is not."""
        self._thread.join()
        if self._error is not None:
            raise self._error
