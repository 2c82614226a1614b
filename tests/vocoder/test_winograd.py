"""Convolutions with half the multiplications against PyTorch's in float64."""

import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.vocoder import kernel, winograd
from pipeline.vocoder.bigvgan import AMPBlock
from pipeline.vocoder.winograd import POINTS, ROOTS, TAPS, TILE, WinogradConv1d, matrices, speed_up

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def test_the_matrices_make_a_convolution_of_any_numbers(generator):
    of_output, of_kernel, of_input = matrices(ROOTS)
    taps = torch.randn(TAPS, generator=generator, dtype=torch.float64)
    x = torch.randn(POINTS, generator=generator, dtype=torch.float64)
    made = of_output @ ((of_kernel @ taps) * (of_input @ x))
    wanted = F.conv1d(x[None, None], taps[None, None])[0, 0]
    assert made.shape == (TILE,)
    torch.testing.assert_close(made, wanted, rtol=1e-12, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("size", [3, 4, 7, 11])
@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("padded", [True, False])
@torch.inference_mode()
def test_a_convolution_of_any_length_is_that_of_float64(size, dilation, padded, generator, monkeypatch):
    """Also in blocks, of two rows, and of so few samples that all of them are edges."""
    monkeypatch.setattr(winograd, "BLOCK", 16)
    padding = dilation * (size - 1) // 2 if padded else 0
    plain = nn.Conv1d(5, 6, size, dilation=dilation, padding=padding)
    quick = WinogradConv1d(plain)
    shortest = 1 + dilation * (size - 1) - 2 * padding
    for length in (1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 200):
        x = torch.randn(2, 5, shortest + length - 1, generator=generator)
        wanted = plain.double()(x.double())
        assert quick(x).shape == wanted.shape
        assert torch.linalg.norm(quick(x) - wanted) < 3e-6 * torch.linalg.norm(wanted)


@needs_compiler
@torch.inference_mode()
def test_the_blocks_of_a_wide_vocoder_are_replaced_and_alike(generator, monkeypatch):
    monkeypatch.setattr(winograd, "time_ratio", lambda ours, theirs: 0.5)  # whatever this machine is
    block = AMPBlock(winograd.WIDE, 7, (1, 3))
    narrow = AMPBlock(16, 7, (1, 3))
    x = torch.randn(1, winograd.WIDE, 150, generator=generator)
    wanted = block.double()(x.double())
    block.float()
    assert speed_up(nn.ModuleList([block, narrow])) == 4
    assert not any(isinstance(part, WinogradConv1d) for part in narrow.modules())
    assert torch.linalg.norm(block(x) - wanted) < 1e-5 * torch.linalg.norm(wanted)


@pytest.mark.parametrize("ratio, library, replaced", [(0.5, True, 2), (0.95, True, 0), (0.5, False, 0)])
def test_where_it_is_no_quicker_or_cannot_be_built_pytorchs_stay(
    ratio, library, replaced, monkeypatch, caplog
):
    if library and kernel.library() is None:
        pytest.skip("no compiled kernel")
    if not library:
        monkeypatch.setattr(winograd.kernel, "library", lambda: None)
    monkeypatch.setattr(winograd, "time_ratio", lambda ours, theirs: ratio)
    caplog.set_level("INFO")
    block = AMPBlock(winograd.WIDE, 7, (1,))
    assert speed_up(block) == replaced
    assert bool(caplog.messages) is not bool(replaced)


@torch.inference_mode()
def test_another_dtype_is_left_alone():
    assert speed_up(AMPBlock(winograd.WIDE, 7, (1,)).bfloat16()) == 0
