"""The vocoder's fused activation for training: the compiled kernel of `pipeline.vocoder.kernel`, forward and
backward.

Where the kernel cannot be had, or its values or gradients are not PyTorch's, the module stays as it is.
"""

import ctypes
import functools
import logging

import torch
from torch import Tensor, nn

from pipeline.vocoder import kernel
from pipeline.vocoder.bigvgan import SNAKE_EPS, AntiAliasedSnake
from pipeline.vocoder.kernel import NAMES, pointer

TOLERANCE = 1e-5
logger = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be had or does not agree with PyTorch (logged)."""
    compiled = kernel.library()
    if compiled is None:
        return None
    # whoever calls first may be within any context
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        worst = disagreement(compiled)
    if worst > TOLERANCE:
        logger.warning(
            "no fused activation, PyTorch's is used: it is off by %.1e, allowed: %.0e", worst, TOLERANCE
        )
        return None
    return compiled


class FusedFunction(torch.autograd.Function):
    """x [B, C, T], alpha [C], inverse_beta [C] (both after their exponentials), taps [12] -> [B, C, T]."""

    @staticmethod
    def forward(
        context, x: Tensor, alpha: Tensor, inverse_beta: Tensor, taps: Tensor, compiled: ctypes.CDLL
    ) -> Tensor:
        x = x.contiguous()
        alpha, inverse_beta, taps = (tensor.float().contiguous() for tensor in (alpha, inverse_beta, taps))
        context.save_for_backward(x, alpha, inverse_beta, taps)
        context.compiled = compiled
        return kernel.forward(compiled, x, alpha, inverse_beta, taps)

    @staticmethod
    def backward(context, grad_y: Tensor):
        x, alpha, inverse_beta, taps = context.saved_tensors
        grad_y = grad_y.to(x.dtype).contiguous()
        grad_x, grad_alpha, grad_inverse = (
            torch.empty_like(x),
            torch.empty_like(alpha),
            torch.empty_like(inverse_beta),
        )
        getattr(context.compiled, f"backward_{NAMES[x.dtype]}")(
            pointer(x),
            pointer(grad_y),
            pointer(grad_x),
            *map(ctypes.c_int64, x.shape),
            pointer(alpha),
            pointer(inverse_beta),
            pointer(taps),
            pointer(grad_alpha),
            pointer(grad_inverse),
        )
        return grad_x, grad_alpha, grad_inverse, None, None


class FusedSnake(AntiAliasedSnake):
    """`AntiAliasedSnake` by the compiled kernel, with gradients; same parameters, same values."""

    def forward(self, x: Tensor) -> Tensor:
        compiled = library() if x.device.type == "cpu" and x.dtype in NAMES else None
        if compiled is None:
            return super().forward(x)
        return FusedFunction.apply(
            x, self.act.alpha.exp(), 1 / (self.act.beta.exp() + SNAKE_EPS), self.filter, compiled
        )


def fuse(module: nn.Module) -> nn.Module:
    """Let every anti-aliased activation of `module` run fused, in place; returns the module."""
    for part in module.modules():
        if type(part) is AntiAliasedSnake:
            part.__class__ = FusedSnake
    return module


def disagreement(compiled: ctypes.CDLL) -> float:
    """Largest relative error of values and gradients against PyTorch, on a small signal in float32."""
    generator = torch.Generator().manual_seed(0)
    reference = AntiAliasedSnake(3)
    with torch.no_grad():
        reference.act.alpha.copy_(0.3 * torch.randn(3, generator=generator))
        reference.act.beta.copy_(0.3 * torch.randn(3, generator=generator))
    worst = 0.0
    for length in (1, 2, 5, 64):
        x = torch.randn(2, 3, length, generator=generator, requires_grad=True)
        weight = torch.randn(2, 3, length, generator=generator)
        sources = (x, reference.act.alpha, reference.act.beta)
        fused = FusedFunction.apply(
            x, sources[1].exp(), 1 / (sources[2].exp() + SNAKE_EPS), reference.filter, compiled
        )
        for ours, theirs in zip(
            (fused, *torch.autograd.grad((fused * weight).sum(), sources)),
            _reference(reference, x, weight, sources),
            strict=True,
        ):
            worst = max(
                worst,
                float((ours - theirs).detach().abs().max() / theirs.detach().abs().max().clamp(min=1e-3)),
            )
    return worst


def _reference(
    module: AntiAliasedSnake, x: Tensor, weight: Tensor, sources: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    y = AntiAliasedSnake.forward(module, x)
    return y, *torch.autograd.grad((y * weight).sum(), sources)
