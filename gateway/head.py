"""Ray's processes of this machine in a session of their own, so that a signal to the gateway's process group does not
reach them: a gateway that is told to stop needs them until it has answered everything.

`python -m gateway.head '{"num_cpus": 2}'` starts them with these arguments of `ray.init`, prints the cluster's address,
and ends them when its standard input does, whether it was closed or whoever held it was killed.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys

END_SECONDS = 60.0  # that Ray's processes are given to end by themselves


def start_head(**resources: int | bool) -> str:
    """Start Ray with these arguments of `ray.init`, for as long as this process lives; the cluster's address. Raises
    ValueError when it does not start."""
    command = [sys.executable, "-m", "gateway.head", json.dumps(resources)]
    head = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    atexit.register(end, head)
    if address := head.stdout.readline().strip():
        return address
    raise ValueError(f"Ray did not start (exit status {head.wait()})")


def end(head: subprocess.Popen) -> None:
    """End what it started, and what it left of it."""
    with contextlib.suppress(BrokenPipeError):
        head.stdin.close()
    try:
        head.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        head.kill()  # its own children follow it
        head.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)


def main() -> None:
    import ray

    started = ray.init(address="local", **json.loads(sys.argv[1]))
    print(started.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
