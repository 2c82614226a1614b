"""How much the engine may hold at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
CACHE_SHARE = 0.5  # of the memory that is free when a model is loaded
MIN_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Limits:
    """segment_batch: segments decoded together; cache_bytes: of their caches in all; most_waiting: requests
    that are not yet prepared; most_ahead: segments of one request that nobody has taken yet."""

    segment_batch: int
    cache_bytes: int
    most_waiting: int

    @property
    def most_ahead(self) -> int:
        return 2 * self.segment_batch


def memory_left(device: torch.device) -> int:
    """Bytes that are free on the device, or to this process's container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    for path in CGROUP_LIMITS:
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            free = min(free, int(text))
    return free


def cache_bytes(device: torch.device, asked_mb: int) -> int:
    """What the caches may take: as asked, or for 0 a share of what is free now."""
    if asked_mb:
        return asked_mb * 2**20
    return max(MIN_CACHE_BYTES, int(memory_left(device) * CACHE_SHARE))
