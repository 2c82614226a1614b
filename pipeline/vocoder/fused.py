"""The vocoder's anti-aliased activations by the compiled kernel."""

from __future__ import annotations

import functools
import importlib
import logging
from types import ModuleType

import torch
from torch import Tensor, nn

from pipeline.vocoder import kernel
from pipeline.vocoder.bigvgan import SNAKE_EPS, AntiAliasedSnake

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5  # of the largest value: 100 dB
CHECKED_LENGTHS = (1, 2, 5, 64, 300)


class FusedSnake(AntiAliasedSnake):
    """`AntiAliasedSnake` for inference; same parameters, same values. What a sample becomes depends on its neighbours
    alone, so pieces of a signal with enough around them give the values of the whole."""

    def forward(self, x: Tensor) -> Tensor:
        compiled = kernel.library()
        learning = torch.is_grad_enabled() and (x.requires_grad or self.act.alpha.requires_grad)
        if compiled is None or learning or x.dtype not in kernel.NAMES or x.device.type != "cpu":
            return super().forward(x)
        alpha, inverse_beta = self.act.alpha.float().exp(), 1 / (self.act.beta.float().exp() + SNAKE_EPS)
        return kernel.forward(compiled, x.contiguous(), alpha, inverse_beta, self.filter)


class TritonSnake(AntiAliasedSnake):
    """`AntiAliasedSnake` for inference on a GPU, in one kernel."""

    def forward(self, x: Tensor) -> Tensor:
        learning = torch.is_grad_enabled() and (x.requires_grad or self.act.alpha.requires_grad)
        kernel = triton_kernel()
        if learning or kernel is None or x.device.type != "cuda":
            return super().forward(x)
        return kernel.activation(x, self.act.alpha, self.act.beta, self.filter, SNAKE_EPS)


@functools.cache
def triton_kernel() -> ModuleType | None:
    """The GPU's kernel, or None where it cannot be had (logged)."""
    try:
        return importlib.import_module("pipeline.vocoder.triton_snake")
    except ImportError as e:
        logger.warning("no fused activation on the GPU, PyTorch's is used: %s", e)
        return None


def fuse_on_gpu(vocoder: nn.Module, device: torch.device) -> bool:
    """`fuse` for a GPU."""
    if triton_kernel() is None:
        return False
    try:
        worst = disagreement(TritonSnake, device)
    except Exception as e:  # a kernel that does not compile raises many things, none of them documented
        logger.warning(
            "no fused activation on the GPU, PyTorch's is used: %s", " ".join(str(e).split())[:200]
        )
        return False
    if not worst <= TOLERANCE:
        logger.warning("no fused activation on the GPU: it is off by %.1e, allowed: %.0e", worst, TOLERANCE)
        return False
    for part in vocoder.modules():
        if type(part) is AntiAliasedSnake:
            part.__class__ = TritonSnake
    return True


def fuse(vocoder: nn.Module) -> bool:
    """Let every anti-aliased activation of `vocoder` run fused, in place, if the kernel is here and agrees with
    PyTorch; whether it does."""
    device = next(vocoder.parameters()).device
    if device.type == "cuda":
        return fuse_on_gpu(vocoder, device)
    if kernel.library() is None:
        return False
    if (worst := disagreement()) > TOLERANCE:
        logger.warning(
            "no fused activation, PyTorch's is used: it is off by %.1e, allowed: %.0e", worst, TOLERANCE
        )
        return False
    for part in vocoder.modules():
        if type(part) is AntiAliasedSnake:
            part.__class__ = FusedSnake
    return True


@torch.inference_mode()
def disagreement(kind: type[AntiAliasedSnake] = FusedSnake, device: torch.device | str = "cpu") -> float:
    """Largest error against PyTorch on signals of some lengths, relative to the largest value."""
    generator = torch.Generator().manual_seed(0)
    plain, fused = AntiAliasedSnake(3).to(device), kind(3).to(device)
    for name in ("alpha", "beta"):
        values = 0.3 * torch.randn(3, generator=generator)
        for module in (plain, fused):
            getattr(module.act, name).copy_(values)
    worst = 0.0
    for length in CHECKED_LENGTHS:
        x = torch.randn(2, 3, length, generator=generator).to(device)
        expected = plain(x)
        worst = max(worst, float((fused(x) - expected).abs().max() / expected.abs().max()))
    return worst
