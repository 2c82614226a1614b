"""How many threads PyTorch computes on, of one thread's work at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_on(count: int) -> None:
    """Let this thread, and no other, compute on `count` threads from now on."""
    torch.get_num_threads()  # or its first operation takes over what any thread set last (PyTorch initializes it then)
    torch.set_num_threads(count)


@contextmanager
def computing_on(count: int) -> Iterator[None]:
    """Let this thread compute on `count` threads in here."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
