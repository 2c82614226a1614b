"""The vocoder's activation on a GPU with gradients: `pipeline.vocoder.triton_snake` forward, two kernels backward.

Nothing is kept but the input; the middle rate is computed again. The first kernel takes the gradient of the output through
the down filter and the snake, to a scratch of the middle rate; the second takes that through the up filter.

u, s and y as in `pipeline.vocoder.triton_snake`: the gradient of s[2m] is Σᵢ f[2i + 1] g[m + 2 − i], of s[2m + 1] it is
Σᵢ f[2i] g[m + 3 − i], i < 6; what falls beyond an end belongs to the value that is kept there.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.vocoder import triton_snake
from pipeline.vocoder.bigvgan import SNAKE_EPS

BLOCK = 512  # samples of one program


@triton.jit
def _through_down(row, taps, m, odd: tl.constexpr, length):
    """The gradient of s[2m + odd], of what is kept beyond the ends too, by that of a row of y."""
    total = tl.zeros_like(m).to(tl.float32)
    for i in tl.static_range(6):
        at = m + 2 + odd - i
        here = (at >= 0) & (at < length)
        total += tl.load(taps + 2 * i + 1 - odd) * tl.load(row + at, mask=here, other=0.0).to(tl.float32)
    return total


@triton.jit
def _through_up(row, taps, m, length):
    """The gradient of x[m], of what is kept beyond the ends too, by that of a row of u: even samples, then odd ones."""
    total = tl.zeros_like(m).to(tl.float32)
    for i in tl.static_range(6):
        even, odd = m - 2 + i, m - 3 + i
        total += tl.load(taps + 2 * i + 1) * tl.load(
            row + even, mask=(even >= 0) & (even < length), other=0.0
        )
        total += tl.load(taps + 2 * i) * tl.load(
            row + length + odd, mask=(odd >= 0) & (odd < length), other=0.0
        )
    return 2 * total


@triton.jit
def _middle(
    x, grad, middle, sums, log_alpha, log_beta, taps, channels, length, blocks, eps, block: tl.constexpr
):
    """The gradient of u [B · C, 2, T], and each block's shares of those of α and 1/β, [B · C, 2, blocks]."""
    line, index = tl.program_id(0).to(tl.int64), tl.program_id(1)
    alpha = tl.exp(tl.load(log_alpha + line % channels).to(tl.float32))
    inverse_beta = 1 / (tl.exp(tl.load(log_beta + line % channels).to(tl.float32)) + eps)
    row, grad_row = x + line * length, grad + line * length
    m = index * block + tl.arange(0, block)
    inside = m < length
    near = tl.arange(0, 4)  # places beyond an end that the filter reaches: three, and one that adds nothing
    sum_alpha, sum_beta = 0.0, 0.0
    for odd in tl.static_range(2):
        u = triton_snake.upsampled(row, taps, tl.minimum(m, length - 1), odd, length)
        g = _through_down(grad_row, taps, m, odd, length)
        if odd == 0:
            beyond = _through_down(grad_row, taps, near - 4, 0, length)
            beyond += _through_down(grad_row, taps, near - 4, 1, length)
            g = tl.where(m == 0, g + tl.sum(beyond, 0), g)
        else:
            beyond = _through_down(grad_row, taps, near + length, 0, length)
            beyond += _through_down(grad_row, taps, near + length, 1, length)
            g = tl.where(m == length - 1, g + tl.sum(beyond, 0), g)
        g = tl.where(inside, g, 0.0)
        sine, cosine = tl.sin(2 * alpha * u), tl.cos(2 * alpha * u)
        sum_alpha += tl.sum(g * u * sine, 0) * inverse_beta
        sum_beta += tl.sum(g * (1 - cosine), 0) / 2
        tl.store(middle + (line * 2 + odd) * length + m, g * (1 + alpha * inverse_beta * sine), mask=inside)
    tl.store(sums + line * 2 * blocks + index, sum_alpha)
    tl.store(sums + (line * 2 + 1) * blocks + index, sum_beta)


@triton.jit
def _input(middle, grad_x, taps, length, block: tl.constexpr):
    """The gradient of x by that of u."""
    line = tl.program_id(0).to(tl.int64)
    row = middle + line * 2 * length
    m = tl.program_id(1) * block + tl.arange(0, block)
    near = tl.arange(0, 4)
    g = _through_up(row, taps, m, length)
    g = tl.where(m == 0, g + tl.sum(_through_up(row, taps, near - 4, length), 0), g)
    g = tl.where(m == length - 1, g + tl.sum(_through_up(row, taps, near + length, length), 0), g)
    tl.store(grad_x + line * length + m, g.to(grad_x.dtype.element_ty), mask=m < length)


class TritonFunction(torch.autograd.Function):
    """x [B, C, T], log_alpha and log_beta [C], taps [12] in float32 -> [B, C, T] of the type of x."""

    @staticmethod
    def forward(context, x: Tensor, log_alpha: Tensor, log_beta: Tensor, taps: Tensor) -> Tensor:
        x = x.contiguous()
        context.save_for_backward(x, log_alpha, log_beta, taps)
        return triton_snake.activation(x, log_alpha, log_beta, taps, SNAKE_EPS)

    @staticmethod
    @once_differentiable
    def backward(context, grad_y: Tensor):
        x, log_alpha, log_beta, taps = context.saved_tensors
        batch, channels, length = x.shape
        if not x.numel():
            return torch.zeros_like(x), torch.zeros_like(log_alpha), torch.zeros_like(log_beta), None
        lines, blocks = batch * channels, triton.cdiv(length, BLOCK)
        middle = torch.empty(lines, 2, length, dtype=torch.float32, device=x.device)
        sums = torch.empty(batch, channels, 2, blocks, dtype=torch.float32, device=x.device)
        _middle[lines, blocks](
            x, grad_y.contiguous(), middle, sums, log_alpha, log_beta, taps, channels, length, blocks, SNAKE_EPS,
            block=BLOCK,
        )  # fmt: skip
        grad_x = torch.empty_like(x)
        _input[lines, blocks](middle, grad_x, taps, length, block=BLOCK)
        by_alpha, by_inverse = sums.sum((0, 3)).unbind(1)
        beta = log_beta.float().exp()
        grad_beta = -by_inverse * beta / (beta + SNAKE_EPS).square()
        grad_alpha = by_alpha * log_alpha.float().exp()
        return grad_x, grad_alpha.to(log_alpha.dtype), grad_beta.to(log_beta.dtype), None
