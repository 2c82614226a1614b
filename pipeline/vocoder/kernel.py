"""The vocoder's compiled parts, its anti-aliased activation and the transforms of its convolutions: built
with g++ when the environment is set up, checked when it is loaded.

    python -m pipeline.vocoder.kernel     build it for every kind of this machine's CPU family

A file lies in `FOLDER`, named by its source, its CPU kind and its own hash, so that a stale or damaged one is
never loaded. Where there is none it is built, in a second; where it cannot be, PyTorch's operators do the
same in three times the time (`bigvgan.AntiAliasedSnake`).

Linked without -ffast-math, which would switch denormals off for the whole process, and without an OpenMP
library: it runs on PyTorch's, whose threads would otherwise wait beside its own.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

SOURCES = tuple(Path(__file__).with_name(name) for name in ("antialias.cpp", "winograd.cpp"))
FOLDER = Path(__file__).with_name("compiled")
COMPILE = ("-O3", "-ffast-math", "-fopenmp", "-fPIC", "-std=c++17", "-c")
COMPILE_SECONDS = 120
HASH_DIGITS = 16
TRANSFORMS = ("winograd_input", "winograd_output")
NAMES = {torch.float32: "float", torch.bfloat16: "bfloat16"}
# what PyTorch calls this CPU -> what the compiler does
X86_KINDS = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}
OPENMP = re.compile(r"/\S*/lib(?:gomp|omp|iomp5)[^/\s]*\.so[^/\s]*")


class KernelError(RuntimeError):
    """The kernel cannot be built or loaded."""


def kinds() -> list[str]:
    """The compiler's names of this family's CPU kinds; "" is what every CPU of it can run."""
    return list(X86_KINDS.values()) if platform.machine() in ("x86_64", "AMD64") else [""]


def kind() -> str:
    """This machine's kind. Raises KernelError for one that nothing is built for."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in X86_KINDS:
        raise KernelError(f"the CPU has {capability}; needed: {' or '.join(X86_KINDS)}")
    return X86_KINDS[capability]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def prefix(target: str) -> str:
    """The start of the file name of the current source built for `target`."""
    source = b"".join(path.read_bytes() for path in SOURCES)
    return f"vocoder-{digest(source + ' '.join(COMPILE).encode())}-{target or 'any'}-"


def build(target: str) -> Path:
    """Compile for `target` into FOLDER. Raises KernelError in one line."""
    try:
        FOLDER.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
            whole = Path(scratch) / "vocoder.so"
            parts = [Path(scratch) / f"{path.stem}.o" for path in SOURCES]
            march = [f"-march={target}"] if target else []
            for command in (
                *(
                    ["g++", *COMPILE, *march, str(s), "-o", str(o)]
                    for s, o in zip(SOURCES, parts, strict=True)
                ),
                ["g++", "-shared", *map(str, parts), "-o", str(whole)],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            path = FOLDER / f"{prefix(target)}{digest(whole.read_bytes())}.so"
            os.replace(whole, path)
    except subprocess.CalledProcessError as e:
        raise KernelError(f"g++ failed: {(e.stderr.strip().splitlines() or ['no message'])[0][:200]}") from e
    except (OSError, subprocess.SubprocessError) as e:
        raise KernelError(f"it cannot be built: {e}") from e
    return path


def find(target: str) -> Path | None:
    """The whole, current file built for `target`; a damaged one is removed."""
    for path in sorted(FOLDER.glob(f"{prefix(target)}*.so")):
        if path.name == f"{prefix(target)}{digest(path.read_bytes())}.so":
            return path
        logger.warning("%s is damaged and is removed", path.name)
        path.unlink(missing_ok=True)
    return None


def share_openmp() -> None:
    """Let a library that is loaded next use the OpenMP threads of this process. Raises KernelError."""
    maps = Path("/proc/self/maps")
    loaded = OPENMP.search(maps.read_text()) if maps.is_file() else None
    try:
        ctypes.CDLL(loaded[0] if loaded else "libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError as e:
        raise KernelError(f"no OpenMP library: {e}") from e


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernel for this CPU, or None where it cannot be had (logged). `setup()` calls this first: it may
    build.
    """
    try:
        target = kind()
        path = find(target) or build(target)
        share_openmp()
        compiled = ctypes.CDLL(str(path))
        for name in NAMES.values():
            getattr(compiled, f"forward_{name}")
        for name in TRANSFORMS:
            getattr(compiled, name)
    except (KernelError, OSError, AttributeError) as e:
        logger.warning("no fused activation, PyTorch's is used: %s", " ".join(str(e).split()))
        return None
    return compiled


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def forward(compiled: ctypes.CDLL, x: Tensor, alpha: Tensor, inverse_beta: Tensor, taps: Tensor) -> Tensor:
    """x [B, C, T] contiguous, alpha [C] and inverse_beta [C] (both after their exponentials), taps [12], all
    three in float32 -> [B, C, T]."""
    y = torch.empty_like(x)
    shape = map(ctypes.c_int64, x.shape)
    getattr(compiled, f"forward_{NAMES[x.dtype]}")(
        pointer(x), pointer(y), *shape, pointer(alpha), pointer(inverse_beta), pointer(taps)
    )
    return y


def main() -> int:
    """Build for every kind of CPU of this family; 1 when that cannot be, which is no reason not to go on."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        for target in kinds():
            path = find(target) or build(target)
            logger.info("fused activation for %s: %s", target or platform.machine(), path.name)
    except KernelError as e:
        logger.warning("no fused activation, PyTorch's is used: %s", e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
