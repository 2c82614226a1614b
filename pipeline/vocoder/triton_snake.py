"""The anti-aliased snake activation in one kernel on a GPU: `AntiAliasedSnake` without its nine passes over memory.

Each of 2× up, snake and 2× down reads and writes a signal that is up to twice as long as the input; here a block of the
output reads the input once from memory and the rest from the cache. What a sample becomes depends on eleven inputs, so
the values of the middle rate are computed where they are needed, six times each, rather than stored.

u[2m] = 2 Σᵢ f[11 − 2i] x[m − 3 + i], u[2m + 1] = 2 Σᵢ f[10 − 2i] x[m − 2 + i], i < 6; s = snake(u); and
y[t] = Σⱼ f[j] s[2t + j − 5], j < 12; beyond its ends a signal keeps its last value.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # samples of one program


@triton.jit
def upsampled(row, taps, m, odd: tl.constexpr, length):
    """u[2m + odd] of a row of x, 0 ≤ m < length."""
    total = tl.zeros_like(m).to(tl.float32)
    for i in tl.static_range(6):
        at = tl.minimum(tl.maximum(m - 3 + odd + i, 0), length - 1)
        total += tl.load(taps + 11 - odd - 2 * i) * tl.load(row + at).to(tl.float32)
    return 2 * total


@triton.jit
def _snake(row, taps, m, odd: tl.constexpr, length, alpha, inverse_beta):
    """s[2m + odd] of a row of x, 0 ≤ m < length."""
    u = upsampled(row, taps, m, odd, length)
    wave = tl.sin(u * alpha)
    return u + wave * wave * inverse_beta


@triton.jit
def _activation(x, y, log_alpha, log_beta, taps, channels, length, eps, block: tl.constexpr):
    line = tl.program_id(0).to(tl.int64)
    channel = line % channels
    alpha = tl.exp(tl.load(log_alpha + channel).to(tl.float32))
    inverse_beta = 1 / (tl.exp(tl.load(log_beta + channel).to(tl.float32)) + eps)
    row = x + line * length
    t = tl.program_id(1) * block + tl.arange(0, block)
    total = tl.zeros_like(t).to(tl.float32)
    zero = tl.zeros_like(t)
    first = _snake(row, taps, zero, 0, length, alpha, inverse_beta)
    last = _snake(row, taps, zero + length - 1, 1, length, alpha, inverse_beta)
    for j in tl.static_range(12):
        m = t + (j - 5 - (j + 1) % 2) // 2  # 2t + j − 5 = 2m + (j + 1) % 2
        inside = tl.minimum(tl.maximum(m, 0), length - 1)
        s = _snake(row, taps, inside, (j + 1) % 2, length, alpha, inverse_beta)
        s = tl.where(m < 0, first, tl.where(m >= length, last, s))
        total += tl.load(taps + j) * s
    tl.store(y + line * length + t, total.to(y.dtype.element_ty), mask=t < length)


def activation(x: Tensor, log_alpha: Tensor, log_beta: Tensor, taps: Tensor, eps: float) -> Tensor:
    """x [B, C, T] -> [B, C, T] of its type; log_alpha and log_beta [C], taps [12] in float32."""
    x = x.contiguous()
    y = torch.empty_like(x)
    batch, channels, length = x.shape
    if x.numel():
        grid = (batch * channels, triton.cdiv(length, BLOCK))
        _activation[grid](x, y, log_alpha, log_beta, taps, channels, length, eps, block=BLOCK)
    return y
