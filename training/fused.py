"""The vocoder's fused activation for training: the compiled kernel of `pipeline.vocoder.kernel`, forward and
backward; on a GPU those of `training.triton_snake`.

Where a kernel cannot be had, or its values or gradients are not PyTorch's, or it is slower on a GPU, the module stays as it
is.
"""

import ctypes
import functools
import importlib
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pipeline.vocoder import kernel
from pipeline.vocoder.bigvgan import SNAKE_EPS, AntiAliasedSnake
from pipeline.vocoder.kernel import NAMES, pointer

TOLERANCE = 1e-5
TIMED_SHAPE, TIMED_RUNS = (8, 64, 8192), 5
Activation = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # x, log alpha, log beta, taps -> y
logger = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be had or does not agree with PyTorch (logged)."""
    compiled = kernel.library()
    if compiled is None:
        return None
    # whoever calls first may be within any context
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        worst = disagreement(functools.partial(_by_compiled, compiled))
    if worst > TOLERANCE:
        logger.warning(
            "no fused activation, PyTorch's is used: it is off by %.1e, allowed: %.0e", worst, TOLERANCE
        )
        return None
    return compiled


@functools.cache
def on_gpu(device: torch.device) -> Activation | None:
    """The kernels for this GPU, or None where they cannot be had, do not agree with PyTorch or are slower (logged)."""
    try:
        activation: Activation = importlib.import_module("training.triton_snake").TritonFunction.apply
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
            worst = disagreement(activation, device)
            reason = None if worst <= TOLERANCE else f"it is off by {worst:.1e}, allowed: {TOLERANCE:.0e}"
            if reason is None:
                ours, plain = (milliseconds(work, device) for work in (activation, None))
                reason = f"{ours:.2f} ms against {plain:.2f} ms" if ours >= plain else None
    except Exception as e:  # a kernel that does not compile raises many things, none of them documented
        reason = " ".join(str(e).split())[:200]
    if reason is not None:
        logger.warning("no fused activation on the GPU, PyTorch's is used: %s", reason)
        return None
    logger.info("fused activation on the GPU: %.2f ms against PyTorch's %.2f ms", ours, plain)
    return activation


def milliseconds(activation: Activation | None, device: torch.device) -> float:
    """The quickest of some runs there and back, by `activation` or by PyTorch."""
    module = AntiAliasedSnake(TIMED_SHAPE[1]).to(device)
    x = torch.randn(TIMED_SHAPE, device=device, requires_grad=True)
    times = []
    for _ in range(TIMED_RUNS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        y = (
            module(x)
            if activation is None
            else activation(x, module.act.alpha, module.act.beta, module.filter)
        )
        torch.autograd.grad(y, (x, module.act.alpha, module.act.beta), grad_outputs=y.detach())
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def _by_compiled(
    compiled: ctypes.CDLL, x: Tensor, log_alpha: Tensor, log_beta: Tensor, taps: Tensor
) -> Tensor:
    return FusedFunction.apply(x, log_alpha.exp(), 1 / (log_beta.exp() + SNAKE_EPS), taps, compiled)


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
    """`AntiAliasedSnake` by a fused kernel, with gradients; same parameters, same values."""

    def forward(self, x: Tensor) -> Tensor:
        parameters = self.act.alpha, self.act.beta, self.filter
        if x.device.type == "cpu" and x.dtype in NAMES and (compiled := library()) is not None:
            return _by_compiled(compiled, x, *parameters)
        if x.device.type == "cuda" and (activation := on_gpu(x.device)) is not None:
            return activation(x, *parameters)
        return super().forward(x)


def fuse(module: nn.Module) -> nn.Module:
    """Let every anti-aliased activation of `module` run fused, in place; returns the module."""
    for part in module.modules():
        if type(part) is AntiAliasedSnake:
            part.__class__ = FusedSnake
    return module


def disagreement(
    activation: Activation, device: torch.device | str = "cpu", lengths: Sequence[int] = (1, 2, 5, 64, 1100)
) -> float:
    """Largest relative error of values and gradients against PyTorch's on the CPU, on small signals in float32."""
    with torch.device("cpu"):  # training on a GPU makes that the default
        return _disagreement(activation, device, lengths)


def _disagreement(activation: Activation, device: torch.device | str, lengths: Sequence[int]) -> float:
    generator = torch.Generator().manual_seed(0)
    reference = AntiAliasedSnake(3)
    with torch.no_grad():
        reference.act.alpha.copy_(0.3 * torch.randn(3, generator=generator))
        reference.act.beta.copy_(0.3 * torch.randn(3, generator=generator))
    worst = 0.0
    for length in lengths:
        x = torch.randn(2, 3, length, generator=generator)
        weight = torch.randn(2, 3, length, generator=generator)
        results = []
        for place, work in (("cpu", None), (device, activation)):
            sources = [
                t.detach().to(place).requires_grad_() for t in (x, reference.act.alpha, reference.act.beta)
            ]
            if work is None:
                y = torch.func.functional_call(
                    reference, {"act.alpha": sources[1], "act.beta": sources[2]}, (sources[0],)
                )
            else:
                y = work(*sources, reference.filter.to(place))
            grads = torch.autograd.grad((y * weight.to(place)).sum(), sources)
            results.append([t.detach().cpu() for t in (y, *grads)])
        for theirs, ours in zip(*results, strict=True):
            worst = max(worst, float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-3)))
    return worst
