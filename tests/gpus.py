"""Triton's kernels compiled for GPUs that are not here: in this process, which has imported the compiler."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel

KINDS = ((75, "fp16"), (80, "bf16"), (90, "fp32"))  # every capability and every kind once; 75 has no bf16


def compiled(capability: int, kernel, kinds: dict[str, str], constants: dict, **more) -> CompiledKernel:
    """`kinds`: of every argument of the kernel that is not among `constants`; more: of `ASTSource`, and `options`."""
    options = more.pop("options", None)
    signature = {name: "constexpr" if name in constants else kinds[name] for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constants, **more)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
