"""Seconds per stage and word of how far it is, for metrics and logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

OnProgress = Callable[[str, int, int], None]  # (stage, step, of); may raise to end the work


def no_progress(stage: str, step: int, of: int) -> None:
    """Progress that nobody waits for."""


def both(first: OnProgress, second: OnProgress) -> OnProgress:
    """Tells two that wait."""
    if second is no_progress:
        return first

    def tell(stage: str, step: int, of: int) -> None:
        first(stage, step, of)
        second(stage, step, of)

    return tell


class Stopwatch:
    """Adds up wall-clock seconds by stage name; on a GPU it waits for the stage's work to end."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()  # parts of a request may be made by several threads

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Seconds that were measured elsewhere."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True)
class Watch:
    """What looks on while a request is made: seconds by stage, and a callback before every step."""

    stopwatch: Stopwatch
    progress: OnProgress = no_progress

    def stage(self, name: str) -> AbstractContextManager[None]:
        """The time of `name`; its start is a step, so that a request whose time is over ends here."""
        self.progress(name, 0, 1)
        return self.stopwatch(name)
