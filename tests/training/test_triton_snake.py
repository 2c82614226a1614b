"""The GPU's activation with gradients: PyTorch's values and gradients in Triton's interpreter, and that it compiles for
GPUs that are not here."""

import pytest

from tests.vocoder.test_triton_snake import run

pytest.importorskip("triton", reason="triton is not installed (requirements-dev.txt; Linux only)")

VALUES = """
import torch
from pipeline.vocoder.bigvgan import AntiAliasedSnake
from training import fused, triton_snake
with torch.device("meta"):  # on a GPU the default device is not where they are compared
    worst = fused.disagreement(triton_snake.TritonFunction.apply)
assert worst < fused.TOLERANCE, worst
# blocks that end within the filter's reach of an end, and half precision
triton_snake.BLOCK = 16
worst = {}
for dtype in (torch.float32, torch.float16):
    generator = torch.Generator().manual_seed(0)
    module = AntiAliasedSnake(2)
    x = torch.randn(1, 2, 34, generator=generator).to(dtype).requires_grad_()
    sources = x, module.act.alpha, module.act.beta
    weight = torch.randn(1, 2, 34, generator=generator)
    y = triton_snake.TritonFunction.apply(*sources, module.filter)
    assert y.dtype == dtype
    ours = torch.autograd.grad((y.float() * weight).sum(), sources)
    wide = x.detach().float().requires_grad_()
    theirs = torch.autograd.grad((module(wide) * weight).sum(), (wide, *sources[1:]))
    for mine, wanted in zip(ours, theirs):
        tolerance = 1e-5 if dtype == torch.float32 else 5e-3
        torch.testing.assert_close(mine.float(), wanted, rtol=tolerance, atol=tolerance)
empty = triton_snake.TritonFunction.apply(torch.ones(0, 2, 4, requires_grad=True), *sources[1:], module.filter)
empty.sum().backward()
assert module.act.alpha.grad.abs().max() == 0
print("equal")
"""
COMPILES = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from training.triton_snake import _input, _middle
FLOATS = ("middle", "sums", "log_alpha", "log_beta", "taps")
# Every kind and every capability once; 75 has no bf16.
for capability, kind in ((75, "fp16"), (80, "bf16"), (90, "fp32")):
    for kernel in (_middle, _input):
        kinds = dict.fromkeys(("x", "grad", "grad_x"), f"*{kind}") | dict.fromkeys(FLOATS, "*fp32")
        kinds |= {"channels": "i32", "length": "i32", "blocks": "i32", "eps": "fp32", "block": "constexpr"}
        source = ASTSource(kernel, {name: kinds[name] for name in kernel.arg_names}, {"block": 512})
        assert "ptx" in triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm
print("compiled")
"""


def test_values_and_gradients_are_those_of_pytorch():
    assert "equal" in run(VALUES, TRITON_INTERPRET="1")


def test_it_compiles_for_gpus_that_are_not_here(tmp_path):
    assert "compiled" in run(COMPILES, TRITON_CACHE_DIR=str(tmp_path))
