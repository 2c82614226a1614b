"""The GPT step's kernels: their values in Triton's interpreter, that they compile for GPUs that are not here, and that
nothing is chosen without a GPU."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from pipeline.gpt.step import StepWeights, step
from pipeline.gpt.step_choice import choose
from tests.conftest import ROOT

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed (requirements-dev.txt; Linux only)"
)
COMPILES = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pipeline.gpt.triton_attention import JOINED, PART, SLOTS, _join, _part
from pipeline.gpt.triton_rows import INPUTS, OUTPUTS, ROWS, _norm, _product

# as a launch has them: addresses and sizes are multiples of 16, what is 1 or None is a constant
def build(capability, kernel, kinds, constants, odd=()):
    kinds = {name: kind for kind, names in kinds.items() for name in names.split()}
    signature = {name: "constexpr" if name in constants else kinds[name] for name in kernel.arg_names}
    attributes = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names) if name not in constants and name not in odd
    }
    source = ASTSource(kernel, signature, constants, attributes)
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_stages": 4})
    assert "ptx" in built.asm and built.metadata.shared <= 48 << 10, kernel.__name__

for capability, half in ((75, "*fp16"), (80, "*bf16"), (90, "*fp16")):
    sizes = {"heads": 20, "d": 64, "slots": 3}
    kinds = {half: "projected cache mask", "*i64": "writes", "*fp32": "values tops totals", "fp32": "scale",
             "i32": "capacity reach parts mask_group mask_slot"}
    constants = sizes | {"mask_head": 0, "queries": SLOTS, "part": PART}
    build(capability, _part, kinds, constants, ("parts", "scale"))
    kinds = {half: "out", "*fp32": "values tops totals", "i32": "parts"}
    build(capability, _join, kinds, sizes | {"joined": JOINED}, ("parts",))
    for parted in (True, False):
        y = {"*fp32": "y", half: "x weight"} if parted else {half: "x weight bias y"}
        constants = {"gelu": not parted, "parted": parted, "some_rows": ROWS, "some_outputs": OUTPUTS,
                     "some_inputs": INPUTS, "by_output": 1} | ({"bias": None} if parted else {})
        build(capability, _product, y | {"i32": "rows inputs outputs by_input share"}, constants, ("rows",))
    kinds = {half: "x bias scale shift y", "*fp32": "parts", "i32": "rows", "fp32": "eps"}
    constants = {"width": 1280, "count": 4, "biased": True, "block": 2048}
    build(capability, _norm, kinds, constants, ("rows", "eps"))
print("compiled")
"""


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": "/tmp", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@needs_triton
def test_values_are_those_of_pytorch():
    assert "choices" in run("-m", "tests.gpt.interpreted", TRITON_INTERPRET="1")


@needs_triton
def test_they_compile_for_gpus_that_are_not_here(tmp_path):
    assert "compiled" in run("-c", COMPILES, TRITON_CACHE_DIR=str(tmp_path))


def test_without_a_gpu_the_step_is_pytorchs(mini_model):
    chosen = choose(mini_model.gpt, StepWeights.of(mini_model.gpt))
    assert chosen.func is step
