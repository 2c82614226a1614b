"""A few rows times a weight, and the normalization between two products, as kernels on a GPU.

A product of a few rows is as fast as its weight is read, so the programs are as many as the device has processors:
where the outputs alone are too few, the inputs are parted too, and the sums of the parts are added where they are next
read, by the kernel that also adds bias and residual and normalizes. The parts depend on the weight's shape alone, and
the code is one for any number of rows.

Axes: R rows, K inputs, N outputs, P parts.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16  # that a tensor core takes at once
OUTPUTS, INPUTS = 32, 128  # of one program, and of one of its steps: K and N are multiples of INPUTS
PROGRAMS = 128  # that keep a large device busy
GELU_SCALE = tl.constexpr(0.7978845608028654)  # √(2/π)
GELU_CUBE = tl.constexpr(0.044715)


@triton.jit(do_not_specialize=["rows"])
def _product(
    x, weight, bias, y, rows, inputs, outputs, by_input, by_output, share,
    gelu: tl.constexpr, parted: tl.constexpr, some_rows: tl.constexpr, some_outputs: tl.constexpr,
    some_inputs: tl.constexpr,
):  # fmt: skip
    """y [P, R, N] of `share` inputs each in float32, or with bias (and gelu) where there is one part."""
    part, block = tl.program_id(1), tl.program_id(2)
    r = block * some_rows + tl.arange(0, some_rows)
    n = tl.program_id(0) * some_outputs + tl.arange(0, some_outputs)
    k = part * share + tl.arange(0, some_inputs)
    here = (r < rows)[:, None]
    total = tl.zeros([some_rows, some_outputs], tl.float32)
    for start in range(0, share, some_inputs):
        left = tl.load(x + r[:, None] * inputs + (start + k)[None, :], mask=here, other=0.0)
        right = tl.load(weight + (start + k)[:, None] * by_input + n[None, :] * by_output)
        total = tl.dot(left, right, total)
    if not parted:
        total += tl.load(bias + n).to(tl.float32)[None, :]
        if gelu:  # x · σ(2u) is x · (1 + tanh u) / 2
            u = GELU_SCALE * (total + GELU_CUBE * total * total * total)
            total = total / (1 + tl.exp(-2 * u))
    at = y + (part * rows + r)[:, None] * outputs + n[None, :]
    tl.store(at, total.to(y.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["rows"])
def _norm(
    x, parts, bias, scale, shift, y, rows, eps,
    width: tl.constexpr, count: tl.constexpr, biased: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """One row: x += sum of the parts and bias, in place; y its layer norm."""
    row, c = tl.program_id(0), tl.arange(0, block)
    here = c < width
    value = tl.load(x + row * width + c, mask=here, other=0.0).to(tl.float32)
    if count > 0:
        added = tl.zeros([block], tl.float32)
        if biased:
            added += tl.load(bias + c, mask=here, other=0.0).to(tl.float32)
        for part in tl.static_range(count):
            added += tl.load(parts + (part * rows + row) * width + c, mask=here, other=0.0).to(tl.float32)
        rounded = (value + added).to(x.dtype.element_ty)
        tl.store(x + row * width + c, rounded, mask=here)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, 0) / width
    centred = tl.where(here, value - mean, 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, 0) / width + eps)
    normal = centred / deviation * tl.load(scale + c, mask=here, other=0.0).to(tl.float32)
    normal += tl.load(shift + c, mask=here, other=0.0).to(tl.float32)
    tl.store(y + row * width + c, normal.to(y.dtype.element_ty), mask=here)


def part_count(inputs: int, outputs: int) -> int:
    """Into how many parts the inputs of a weight are taken whose sums are added later."""
    steps = inputs // INPUTS
    return next((p for p in range(1, steps) if not steps % p and p * (outputs // OUTPUTS) >= PROGRAMS), steps)


def product(x: Tensor, weight: Tensor, bias: Tensor, gelu: bool = False) -> Tensor:
    """x W + b [R, N] in the type of x, then gelu (tanh) if asked; x [R, K], W [K, N] in any order of memory, b [N]."""
    y = x.new_empty(1, x.shape[0], weight.shape[1])
    _launch(x, weight, bias, y, gelu)
    return y[0]


def parted_product(x: Tensor, weight: Tensor) -> Tensor:
    """Parts [P, R, N] in float32, whose sum is x W."""
    parts = part_count(*weight.shape)
    y = torch.empty(parts, x.shape[0], weight.shape[1], dtype=torch.float32, device=x.device)
    _launch(x, weight, None, y, False)
    return y


def _launch(x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor, gelu: bool) -> None:
    parts, rows, outputs = y.shape
    inputs = weight.shape[0]
    _product[outputs // OUTPUTS, parts, triton.cdiv(rows, ROWS)](
        x, weight, bias, y, rows, inputs, outputs, *weight.stride(), inputs // parts,
        gelu=gelu, parted=bias is None, some_rows=ROWS, some_outputs=OUTPUTS, some_inputs=INPUTS, num_stages=4,
    )  # fmt: skip


def add_and_norm(
    x: Tensor, parts: Tensor | None, bias: Tensor | None, norm: tuple[tuple[int, ...], Tensor, Tensor, float]
) -> Tensor:
    """Adds to x [R, D], in place, the sum of `parts` [P, R, D] and `bias` [D] where there are such; the layer norm
    [R, D] of that. `norm`: what follows the input of torch.layer_norm."""
    rows, width = x.shape
    _, scale, shift, eps = norm
    y = torch.empty_like(x)
    count = 0 if parts is None else len(parts)
    _norm[(rows,)](
        x, parts, bias, scale, shift, y, rows, eps,
        width=width, count=count, biased=bias is not None, block=triton.next_power_of_2(width),
    )  # fmt: skip
    return y
