"""How many cores a model computes on: those the process may use, no more than its container's quota."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

CGROUP = Path("/sys/fs/cgroup")


def quota(root: Path = CGROUP) -> float | None:
    """Cores that the container's CPU quota amounts to (cgroup 2, then 1); None where there is none."""
    try:
        if (root / "cpu.max").is_file():
            limit, period = (root / "cpu.max").read_text().split()
        else:
            limit, period = (
                (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        cores = float(limit) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no cgroup at all
        return None
    return cores if cores > 0 else None


def set_threads(asked: int = 0) -> int:
    """Let PyTorch compute on `asked` threads, or for 0 on as many as there are cores for; returns how many.
    More threads than the quota allows would be stopped together for most of every period."""
    limit, cores = quota(), torch.get_num_threads()
    threads = asked or (cores if limit is None else min(cores, math.ceil(limit)))
    if threads != cores:
        logger.info(
            "%d threads (cores: %d, quota: %s)", threads, cores, "none" if limit is None else f"{limit:g}"
        )
        torch.set_num_threads(threads)
    return threads
