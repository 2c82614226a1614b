"""The GPU's activation with gradients: PyTorch's values and gradients in Triton's interpreter, and that it compiles for
GPUs that are not here."""

import pytest

pytest.importorskip("triton", reason="triton is not installed (requirements-dev.txt; Linux only)")

from tests.gpus import KINDS, compiled, interpreted
from training import triton_snake

VALUES = """
import torch
from pipeline.vocoder.bigvgan import AntiAliasedSnake
from training import fused, triton_snake
# blocks that end within the filter's reach of an end, and half precision
triton_snake.BLOCK = 16
with torch.device("meta"):  # on a GPU the default device is not where they are compared
    worst = fused.disagreement(triton_snake.TritonFunction.apply, lengths=(1, 18))
assert worst < fused.TOLERANCE, worst
generator = torch.Generator().manual_seed(0)
module = AntiAliasedSnake(2)
x = torch.randn(1, 2, 18, generator=generator).half().requires_grad_()
sources = x, module.act.alpha, module.act.beta
weight = torch.randn(1, 2, 18, generator=generator)
y = triton_snake.TritonFunction.apply(*sources, module.filter)
assert y.dtype == torch.float16
ours = torch.autograd.grad((y.float() * weight).sum(), sources)
wide = x.detach().float().requires_grad_()
theirs = torch.autograd.grad((module(wide) * weight).sum(), (wide, *sources[1:]))
for mine, wanted in zip(ours, theirs):
    torch.testing.assert_close(mine.float(), wanted, rtol=5e-3, atol=5e-3)
empty = triton_snake.TritonFunction.apply(torch.ones(0, 2, 4, requires_grad=True), *sources[1:], module.filter)
empty.sum().backward()
assert module.act.alpha.grad.abs().max() == 0
print("equal")
"""
FLOATS = ("middle", "sums", "log_alpha", "log_beta", "taps")


def test_values_and_gradients_are_those_of_pytorch():
    assert "equal" in interpreted("-c", VALUES)


@pytest.mark.parametrize("capability, kind", KINDS)
def test_it_compiles_for_gpus_that_are_not_here(capability, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = dict.fromkeys(("x", "grad", "grad_x"), f"*{kind}") | dict.fromkeys(FLOATS, "*fp32")
    kinds |= {"channels": "i32", "length": "i32", "blocks": "i32", "eps": "fp32"}
    for kernel in (triton_snake._middle, triton_snake._input):
        assert "ptx" in compiled(capability, kernel, kinds, {"block": 512}).asm
