"""Ray on this machine, or the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gateway.head import start_head
from gateway.scratch import short_way

STORE_BYTES = 200 * 2**20  # of Ray's object store: pieces of audio on their way
SOCKET_BYTES = 107  # that the path of a Unix socket may have
SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"  # as Ray names them below its folder
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def connect(speakers: int, cores: int) -> bool:
    """Start Ray for so many speakers of so many cores each, or join the cluster; whether it has GPUs.

    Raises ValueError where Ray's sockets cannot have a name, or it does not start."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    address = None
    if "RAY_ADDRESS" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray itself has it for a local cluster
        shorten()
        import torch

        gpus = torch.cuda.device_count()
        address = start_head(
            num_cpus=max(speakers * (1 if gpus else cores), gpus) + 1,
            num_gpus=gpus,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
        )
    import ray  # last, as what is to end first

    ray.init(address=address, log_to_driver=False)
    return ray.cluster_resources().get("GPU", 0) > 0


def shorten(short: Sequence[str] = SHORT) -> None:
    """Give Ray a short way, for as long as this process lives, to a temporary folder whose path is too long for the
    names of its sockets; its files lie where they would have. Raises ValueError where there is no way."""
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if fits(wanted):
        return
    for place in short:
        with contextlib.suppress(OSError):
            os.environ["RAY_TMPDIR"] = str(short_way(Path(wanted).resolve(), Path(place)))
            return
    raise ValueError(
        f"the path of the temporary folder '{wanted}' has {len(os.fsencode(wanted))} bytes; Ray's sockets leave "
        f"{SOCKET_BYTES - len(SOCKET)}: name a shorter one in RAY_TMPDIR"
    )


def fits(folder: str) -> bool:
    return len(os.fsencode(folder)) + len(SOCKET) <= SOCKET_BYTES
