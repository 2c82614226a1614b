"""What a program that this one starts sees of the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable

# What programs need to start, to find their libraries and to put their temporary files somewhere. No token
# and no address: one that was broken by the file it reads would find nothing to take and nowhere to go on.
NAMES = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "OMP_NUM_THREADS")


def child_environment(more: Iterable[str] = ()) -> dict[str, str]:
    """The variables of `NAMES` and `more` that are set here; nothing else."""
    return {name: os.environ[name] for name in (*NAMES, *more) if name in os.environ}
