"""Whether the service still works, without a synthesis to find out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

logger = logging.getLogger(__name__)


class Health:
    """Remembers how the last synthesis went. A request that is refused (ValueError) or cancelled says nothing
    of the service; another exception, or samples that are not finite, does, until a synthesis works again."""

    def __init__(self, device: torch.device):
        self.device = device
        self.works = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        try:
            yield
        except Exception as e:
            self.failed(e)
            raise

    def failed(self, error: BaseException) -> None:
        """A request ended with `error`."""
        if not isinstance(error, (ValueError, OSError, torch.OutOfMemoryError)):
            self.works = False

    def heard(self, finite: bool) -> None:
        """A segment was made; finite: whether all its samples are numbers."""
        self.works = finite

    def good(self) -> bool:
        """The last synthesis worked and the device does a tiny sum."""
        try:
            return self.works and float(torch.ones(2, device=self.device).sum()) == 2
        except RuntimeError as e:  # what a lost device raises
            logger.error("the device does not answer: %s", e)
            return False
