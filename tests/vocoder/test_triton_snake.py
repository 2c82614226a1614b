"""The GPU's activation kernel: its values in Triton's interpreter, and that it compiles for GPUs that are not here."""

import pytest

pytest.importorskip("triton", reason="triton is not installed (requirements-dev.txt; Linux only)")

from pipeline.vocoder.triton_snake import _activation
from tests.gpus import KINDS, compiled, interpreted

VALUES = """
import torch
from pipeline.vocoder.bigvgan import SNAKE_EPS, AntiAliasedSnake
from pipeline.vocoder import triton_snake
triton_snake.BLOCK = 16
generator = torch.Generator().manual_seed(0)
plain = AntiAliasedSnake(2)
with torch.inference_mode():
    for name in ("alpha", "beta"):
        getattr(plain.act, name).copy_(0.3 * torch.randn(2, generator=generator))
    for length, dtype, limit in ((1, torch.float32, 1e-5), (20, torch.float32, 1e-5), (20, torch.float16, 2e-3)):
        x = torch.randn(2, 2, length, generator=generator).to(dtype)
        y = triton_snake.activation(x, plain.act.alpha, plain.act.beta, plain.filter, SNAKE_EPS)
        wanted = plain(x.float())
        assert y.dtype == dtype and y.shape == x.shape
        worst = float((y.float() - wanted).abs().max() / wanted.abs().max())
        assert worst < limit, (length, dtype, worst)
print("equal")
"""


def test_values_are_those_of_pytorch():
    assert "equal" in interpreted("-c", VALUES)


@pytest.mark.parametrize("capability, kind", KINDS)
def test_it_compiles_for_gpus_that_are_not_here(capability, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = dict.fromkeys(("x", "y"), f"*{kind}") | dict.fromkeys(("log_alpha", "log_beta", "taps"), "*fp32")
    kinds |= {"channels": "i32", "length": "i32", "eps": "fp32"}
    assert "ptx" in compiled(capability, _activation, kinds, {"block": 512}).asm
