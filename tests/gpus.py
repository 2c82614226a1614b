"""Triton's kernels without a GPU: interpreted, in a process of their own, and compiled for GPUs that are not here, in
this one, which has imported the compiler."""

import subprocess
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

from tests.conftest import ROOT

KINDS = ((75, "fp16"), (80, "bf16"), (90, "fp32"))  # every capability and every kind once; 75 has no bf16


def compiled(capability: int, kernel, kinds: dict[str, str], constants: dict, **more) -> CompiledKernel:
    """`kinds`: of every argument of the kernel that is not among `constants`; more: of `ASTSource`, and `options`."""
    options = more.pop("options", None)
    signature = {name: "constexpr" if name in constants else kinds[name] for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constants, **more)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def interpreted(*arguments: str) -> str:
    """What Python prints with these arguments when kernels run in Triton's interpreter."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": "/tmp", "TRITON_INTERPRET": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
