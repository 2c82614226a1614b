"""Giving memory back to the system while a model is loaded, so that its peak is little more than what stays (Linux)."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path

from torch import Tensor

MADV_DONTNEED = 4
MAPS = Path("/proc/self/maps")


def release(tensor: Tensor) -> None:
    """Give back the pages of a tensor that nobody reads any more now, not when its file is closed."""
    page = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // page) * page
    _dont_need(start, (tensor.data_ptr() + tensor.nbytes - start) // page * page)


def release_file(path: Path) -> None:
    """Give back the pages of a memory-mapped file. Those that are read again come back from the system's cache of the
    file; what was written to one would be lost, and nobody writes to weights."""
    if not MAPS.is_file():
        return
    name = os.path.realpath(path)
    for line in MAPS.read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == name:
            start, end = (int(bound, 16) for bound in fields[0].split("-"))
            _dont_need(start, end - start)


def trim() -> None:
    """Give memory that was freed, but is kept for later by the C library, back to the system (glibc only)."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if give_back is not None:
        give_back(0)


def _dont_need(start: int, length: int) -> None:
    if sys.platform == "linux" and length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), MADV_DONTNEED)
