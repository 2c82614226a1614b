"""Convolutions over time with half the multiplications: Toom-Cook, called Winograd's where it is done to images.

Four outputs of a kernel of four taps are seven products of sums (`MATRICES`) in place of sixteen; longer kernels are
groups of four taps whose products are summed. Between two transforms (winograd.cpp) there are seven matrix products.
Rounding is about four times that of a plain float32 convolution: 1e-6 of the norm.

Source: "Fast Algorithms for Convolutional Neural Networks" (Lavin and Gray, 2016); the matrices are those of Toom and
Cook for the points `ROOTS` and infinity.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.memory import release
from pipeline.packed import time_ratio
from pipeline.vocoder import kernel

logger = logging.getLogger(__name__)

TILE, TAPS = 4, 4
POINTS = TILE + TAPS - 1
ROOTS = (0, 1, -1, 2, -2, Fraction(1, 2))
BLOCK = 512  # tiles at a time: what they take stays in the cache, and memory does not grow with the length
WIDE = 192  # channels from which on it is quicker, with kernels of LONG taps
LONG = 7
WIDEST = 384  # channels from which on it is so with any kernel of more than one tap
CHECKED = (384, 7, 3, 600)  # channels, kernel, dilation and samples of a check
TOLERANCE = 1e-5  # of the norm
MIN_GAIN = 1.15  # measured: 1.5


def matrices(roots: Sequence[Fraction | int]) -> tuple[Tensor, Tensor, Tensor]:
    """(output [TILE, POINTS], kernel [POINTS, TAPS], input [POINTS, POINTS]) in float64: outputs y of taps g over
    inputs x are y = output · ((kernel · g) ∘ (input · x))."""
    points = [Fraction(root) for root in roots]

    def product(factors: Sequence[Fraction]) -> list[Fraction]:
        """Coefficients of Π (x − factor), the lowest first, filled up to POINTS."""
        found = [Fraction(1)]
        for factor in factors:
            found = [
                (found[i - 1] if i else 0) - factor * (found[i] if i < len(found) else 0)
                for i in range(len(found) + 1)
            ]
        return found + [Fraction(0)] * (POINTS - len(found))

    others = [[p for p in points if p != point] for point in points]
    sizes = []
    for point, rest in zip(points, others, strict=True):
        size = Fraction(1)
        for other in rest:
            size *= point - other
        sizes.append(size)
    of_input = [*map(product, others), product(points)]
    of_kernel = [[p**i / size for i in range(TAPS)] for p, size in zip(points, sizes, strict=True)]
    of_output = [[p**i for p in points] + [Fraction(i == TILE - 1)] for i in range(TILE)]
    of_kernel.append([Fraction(i == TAPS - 1) for i in range(TAPS)])
    for row, taps in zip(of_input, of_kernel, strict=True):  # numbers of like size lose the least
        largest = max(map(abs, row))
        row[:] = [value / largest for value in row]
        taps[:] = [value * largest for value in taps]
    return tuple(torch.tensor(rows, dtype=torch.float64) for rows in (of_output, of_kernel, of_input))


def addresses(parts: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(parts))(*(part.data_ptr() for part in parts))


class WinogradConv1d(nn.Module):
    """What a Conv1d with zeros around its input does in float32 on a CPU, for inference: [B, C, T] -> [B, O, T']."""

    def __init__(self, conv: nn.Conv1d):
        super().__init__()
        size = conv.kernel_size[0]
        self.groups = -(-size // TAPS)
        self.padding, self.dilation = conv.padding[0], conv.dilation[0]
        self.shortened = self.dilation * (size - 1) - 2 * self.padding  # samples
        self.to_output, of_kernel, self.to_points = (part.float() for part in matrices(ROOTS))
        weight = conv.weight.detach()
        taps = F.pad(weight, (0, self.groups * TAPS - size)).unflatten(2, (self.groups, TAPS))
        products = (taps @ of_kernel.t()).permute(3, 0, 2, 1)  # [POINTS, O, groups, C]
        self.register_buffer("products", products.flatten(2), persistent=False)
        bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias.detach()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        compiled, x = kernel.library(), x.contiguous()
        (batch, channels, length), outputs = x.shape, self.products.shape[1]
        made = length - self.shortened
        y = x.new_empty(batch, outputs, made)
        step = max(1, BLOCK // self.dilation) * self.dilation
        most = -(-made // (TILE * self.dilation)) * self.dilation
        points = x.new_empty(POINTS * self.groups * channels * min(step, most))
        for row, out in zip(x, y, strict=True):
            for first in range(0, most, step):
                tiles, start = min(step, most - first), first * TILE
                compiled.winograd_input(
                    kernel.pointer(row),
                    kernel.pointer(points),
                    *map(
                        ctypes.c_int64,
                        (channels, length, start - self.padding, self.dilation, tiles, self.groups),
                    ),
                    kernel.pointer(self.to_points),
                )
                shape = (POINTS, self.groups * channels, tiles)
                given = points[: POINTS * self.groups * channels * tiles].view(shape)
                made_of = [multiply(self.products[i], given[i]) for i in range(POINTS)]
                compiled.winograd_output(
                    addresses(made_of),
                    kernel.pointer(out),
                    *map(ctypes.c_int64, (outputs, made, start, self.dilation, tiles)),
                    kernel.pointer(self.to_output),
                    kernel.pointer(self.bias),
                )
        return y


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a [N, K] · b [K, M], contiguous, by oneDNN: quicker than MKL on CPUs that are not Intel's."""
    return torch.ops.mkldnn._linear_pointwise.default(a, b.t(), None, "none", [], "")


def gains(conv: nn.Module) -> bool:
    """Whether a layer is of a shape that becomes quicker."""
    if type(conv) is not nn.Conv1d or conv.groups != 1 or conv.stride != (1,) or conv.padding_mode != "zeros":
        return False
    channels, size = min(conv.in_channels, conv.out_channels), conv.kernel_size[0]
    return channels >= WIDEST and size > 2 or channels >= WIDE and size >= LONG


def speed_up(vocoder: nn.Module, mapped: bool = False) -> int:
    """Put such convolutions in the place of those that become quicker, if they agree with PyTorch's and are quicker on
    this machine; how many. `mapped`: see `pipeline.precision.apply_precision`."""
    found = [
        (parent, name, layer)
        for parent in vocoder.modules()
        for name, layer in list(parent.named_children())
        if gains(layer) and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
    ]
    if not found:
        return 0
    if (reason := no_gain()) is not None:
        logger.info("vocoder: plain convolutions: %s", reason)
        return 0
    count = len(found)
    while (
        found
    ):  # nothing here holds a layer after its turn: its weights are gone before the next one's are made
        parent, name, layer = found.pop()
        setattr(parent, name, WinogradConv1d(layer))
        if mapped:
            release(layer.weight)
    return count


@torch.inference_mode()
def no_gain() -> str | None:
    """Why not on this machine, in some words; None where it is as near and quicker."""
    if kernel.library() is None:
        return "no compiled kernel"
    channels, size, dilation, length = CHECKED
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv1d(channels, channels, size, padding=dilation * (size // 2), dilation=dilation)
    plain.weight.copy_(torch.randn(plain.weight.shape, generator=generator))
    plain.bias.zero_()
    x = torch.randn(1, channels, length, generator=generator)
    quick = WinogradConv1d(plain)
    try:
        wanted = plain(x)
        error = float(torch.linalg.norm(quick(x) - wanted) / torch.linalg.norm(wanted))
    except (AttributeError, RuntimeError) as e:  # an operator that is not public may go
        return f"cannot be used: {' '.join(str(e).split())[:80]}"
    if not error <= TOLERANCE:
        return f"off by {error:.1e}, allowed: {TOLERANCE:.0e}"
    gain = 1 / time_ratio(partial(quick, x), partial(plain, x))
    return f"{gain:.2f} times as fast, asked: {MIN_GAIN}" if gain < MIN_GAIN else None
