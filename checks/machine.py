"""What a machine has, as far as the standard library can tell; `script/doctor` asks before any set-up.

Every function answers None (or nothing) for what cannot be found out, and waits a bounded time.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

PROBE_SECONDS = 120.0  # a cold import of torch from a slow disk, on a busy machine
CONNECT_SECONDS = 1.0
GPU_COLUMNS = ("name", "total_mib", "free_mib", "driver")
UNLIMITED_BYTES = 1 << 60  # cgroup v1 says "no limit" by a number beyond this
# Names of /proc/cpuinfo (x86 and ARM) by what they are called.
CPU_FEATURES: Mapping[str, tuple[str, ...]] = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "bf16": ("avx512_bf16", "bf16"),
    "VNNI": ("avx512_vnni", "avx_vnni", "asimddp"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
}


def run(command: list[str], timeout: float = PROBE_SECONDS, **options) -> tuple[int | None, str]:
    """Exit status and output of `command`, None where it could not be started or did not end; on failure the
    output is standard error's, or what kept it from starting."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, **options
        )
    except (OSError, ValueError) as e:
        return None, str(e)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {timeout:.0f} s"
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr or done.stdout


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:300]


def cpu() -> dict[str, object]:
    """name, features, cores that this process may use, quota: cores by the control group's limit, or None."""
    info = read("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+)$", info, re.M)
    flags = set(re.findall(r"\S+", " ".join(re.findall(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.M)[:1])))
    features = [feature for feature, names in CPU_FEATURES.items() if flags & set(names)]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "name": name[1] if name else platform.processor() or platform.machine(),
        "features": features if flags else None,
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "quota": cpu_quota(),
    }


def cpu_quota() -> float | None:
    """Cores that the control group grants; version 2, then version 1."""
    fields = read("/sys/fs/cgroup/cpu.max").split()
    if not fields:
        fields = [
            read(f"/sys/fs/cgroup/cpu/cpu.cfs_{name}_us").strip() or "-1" for name in ("quota", "period")
        ]
    try:
        quota, period = float(fields[0]), float(fields[1])
    except (ValueError, IndexError):  # "max"
        return None
    return round(quota / period, 2) if quota > 0 and period > 0 else None


def memory() -> dict[str, int | None]:
    """Bytes: total, available now, and the control group's limit where it has one."""
    info = {
        name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", read("/proc/meminfo"), re.M)
    }
    limit = (read("/sys/fs/cgroup/memory.max") or read("/sys/fs/cgroup/memory/memory.limit_in_bytes")).strip()
    bound = int(limit) if limit.isdigit() and int(limit) < UNLIMITED_BYTES else None
    return {"total": info.get("MemTotal"), "available": info.get("MemAvailable"), "limit": bound}


def gpus() -> tuple[list[dict[str, object]], str]:
    """Each GPU that the NVIDIA driver shows (name, memory in MiB, driver), and why there is none."""
    if not shutil.which("nvidia-smi"):
        return [], "no nvidia-smi on PATH"
    query = "--query-gpu=name,memory.total,memory.free,driver_version"
    status, output = run(["nvidia-smi", query, "--format=csv,noheader,nounits"], timeout=20)
    if status != 0:
        return [], f"nvidia-smi: {last_line(output)}"
    rows = [[cell.strip() for cell in line.split(",")] for line in output.strip().splitlines()]
    rows = [row for row in rows if len(row) == len(GPU_COLUMNS)]
    found = [dict(zip(GPU_COLUMNS, row)) for row in rows]  # noqa: B905 - strict= is Python 3.10 and later
    return found, "" if found else "nvidia-smi lists none"


def ffmpeg_codecs(wanted: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Of `wanted` (encoders, decoders: names), what ffmpeg on PATH does not have."""
    absent = {}
    for kind, names in wanted.items():
        _, output = run(["ffmpeg", "-hide_banner", f"-{kind}"], timeout=20)
        have = set(re.findall(r"^ [A-Z.]{6} (\S+)", output, re.M))
        absent[kind] = [name for name in names if name not in have]
    return absent


def existing_parent(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(parent for parent in (path, *path.parents) if os.path.exists(parent))


def free_bytes(path: Path) -> int:
    return shutil.disk_usage(existing_parent(path)).free


def is_writable(path: Path) -> bool:
    """Whether a folder `path` can be written to, or made."""
    parent = existing_parent(path)
    return parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)


def port_answers(port: int) -> bool:
    """Whether something on this machine listens at `port`."""
    with socket.socket() as s:
        s.settimeout(CONNECT_SECONDS)
        return s.connect_ex(("127.0.0.1", port)) == 0
