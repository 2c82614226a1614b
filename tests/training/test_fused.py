"""The compiled activation: PyTorch's values and gradients; PyTorch itself where there is no compiler."""

import copy
import shutil

import pytest
import torch

from pipeline.vocoder import kernel
from pipeline.vocoder.bigvgan import AntiAliasedSnake, BigVGAN
from training import fused

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture
def unused():
    """The compiled kernel as it is before its first use."""
    for library in (kernel.library, fused.library):
        library.cache_clear()
    yield
    for library in (kernel.library, fused.library):
        library.cache_clear()


@needs_compiler
@pytest.mark.parametrize("length", (1, 3, 7, 200))
def test_values_and_gradients_are_pytorchs(unused, length):
    torch.manual_seed(0)
    plain = AntiAliasedSnake(4)
    torch.nn.init.normal_(plain.act.alpha, std=0.5)
    torch.nn.init.normal_(plain.act.beta, std=0.5)
    quick = fused.fuse(copy.deepcopy(plain))
    assert fused.library() is not None and type(quick) is fused.FusedSnake
    x, weight = torch.randn(3, 4, length), torch.randn(3, 4, length)
    results = []
    for module in (plain, quick):
        source = x.clone().requires_grad_()
        y = module(source)
        (y * weight).sum().backward()
        results.append((y.detach(), source.grad, module.act.alpha.grad, module.act.beta.grad))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5)


@needs_compiler
@pytest.mark.parametrize(
    "context", (torch.inference_mode(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16))
)
def test_first_use_may_be_within_any_context(unused, context):
    with context:
        assert fused.library() is not None


@needs_compiler
def test_bfloat16_is_as_near_as_its_own_rounding(unused):
    torch.manual_seed(0)
    plain = AntiAliasedSnake(4)
    x = torch.randn(2, 4, 50).bfloat16()
    got = fused.fuse(copy.deepcopy(plain))(x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), plain(x.float()), rtol=8e-3, atol=8e-3)


def test_without_a_compiler_the_module_stays_pytorchs(unused, tmp_path, monkeypatch, small_config, caplog):
    monkeypatch.setattr(kernel, "FOLDER", tmp_path / "compiled")
    monkeypatch.setenv("PATH", str(tmp_path))
    torch.manual_seed(0)
    vocoder = BigVGAN(small_config.vocoder).eval()
    mel = torch.randn(1, 80, 4)
    with torch.inference_mode():
        expected = vocoder(mel)
        assert torch.equal(fused.fuse(vocoder)(mel), expected)
    assert fused.library() is None and "no fused activation" in caplog.text
