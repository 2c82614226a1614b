"""Linear layers whose weights are packed for a kernel: less to read per step, and more than one core reading it.

A decode step multiplies a few rows by every weight of the GPT, so it is as fast as the weights are read. The kernels
are PyTorch's own, but not its public interface: each is checked on this machine before it is used
(`choose`), and a PyTorch that lacks one gets the next.

Axes: R rows, K inputs, N outputs.
"""

from __future__ import annotations

import functools
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)

Rows = Callable[[Tensor], Tensor]  # [R, K] -> [R, N]
CHECK_ROWS = (1, 3)  # of one beam and of three
CHECK_RUNS = 5
SPEED_SIZE = 1024  # of a square matrix: what a call costs does not matter, what reading it costs does
# Against plain float32; far from 1, so that a busy machine does not choose otherwise than a quiet one.
MAX_SLOWDOWN = 2.0
INT8_MAX = 127


class PackedLinear(nn.Module):
    """x Wᵀ + b with W [N, K] in a kernel's own form; takes and gives float32."""

    name: str
    tolerance: float  # relative error that the form of the weights explains

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.outputs, self.inputs = weight.shape
        self.pack(weight.float().contiguous(), None if bias is None else bias.float())

    @abstractmethod
    def pack(self, weight: Tensor, bias: Tensor | None) -> None:
        """Keep W [N, K] and b [N] as the kernel wants them."""

    @abstractmethod
    def rows(self, x: Tensor) -> Tensor:
        """[R, K] -> [R, N]"""

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)


class OneDNNLinear(PackedLinear):
    """float32 in oneDNN's blocked order: the values of a plain product, at the speed the memory allows."""

    name, tolerance = "float32 packed by oneDNN", 1e-5
    ROWS_HINT = 8  # the order that is good at 4 to 128 rows
    MIN_ROWS = 4  # fewer take longer than so many, and one alone has sums in another order

    def pack(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, self.ROWS_HINT)
        self.bias = bias
        self.rows = partial(_onednn_rows, torch.ops.mkldnn._linear_pointwise.default, self.weight, bias)


def _onednn_rows(kernel: Callable, weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    count = x.shape[0]
    if count >= OneDNNLinear.MIN_ROWS:
        return kernel(x, weight, bias, "none", [], "")
    filled = torch.constant_pad_nd(x, (0, 0, 0, OneDNNLinear.MIN_ROWS - count))
    return kernel(filled, weight, bias, "none", [], "")[:count]


class HalfLinear(PackedLinear):
    """float16 weights, float32 activations and sums (FBGEMM)."""

    name, tolerance = "float16 weights by FBGEMM", 1e-3

    def pack(self, weight: Tensor, bias: Tensor | None) -> None:
        limit = torch.finfo(torch.float16).max
        if weight.abs().max() > limit:
            raise ValueError(f"a weight is {float(weight.abs().max()):g}; float16 ends at {limit:g}")
        packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        kernel = torch.ops.quantized.linear_dynamic_fp16.default
        self.rows = lambda x: kernel(x, packed)


class Int8Linear(PackedLinear):
    """int8 weights with a scale per output, bfloat16 activations: a row's values do not depend on its neighbours, as
    they would with activations quantized by the batch."""

    name, tolerance = "int8 weights", 2e-2

    def pack(self, weight: Tensor, bias: Tensor | None) -> None:
        scales = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / INT8_MAX
        self.weight = (weight / scales[:, None]).round().to(torch.int8)
        self.scales = scales.to(torch.bfloat16)
        self.bias = bias

    def rows(self, x: Tensor) -> Tensor:
        y = torch._weight_int8pack_mm(x.to(torch.bfloat16), self.weight, self.scales).float()
        return y if self.bias is None else y.add_(self.bias)


def choose(
    kernels: Sequence[type[PackedLinear]], layers: Sequence[tuple[Tensor, Tensor | None]], what: str
) -> type[PackedLinear] | None:
    """The first of `kernels` that gives a plain product's values on this machine for each of `layers`, W [N, K] and
    b [N], and is not slow; None where there is none. Logs which, and why not the ones before it."""
    reasons: list[str] = []
    for kernel in kernels:
        reason = next(filter(None, (mistake(kernel, *layer) for layer in layers)), None) or slowness(kernel)
        if reason is None:
            logger.info("%s: %s", what, "; ".join([kernel.name, *reasons]))
            return kernel
        reasons.append(f"not {kernel.name}: {reason}")
    logger.warning("%s: plain float32; %s", what, "; ".join(reasons))
    return None


@torch.inference_mode()
def mistake(kernel: type[PackedLinear], weight: Tensor, bias: Tensor | None) -> str | None:
    """What is wrong with the values that `kernel` gives here, in some words; None where nothing is."""
    generator = torch.Generator().manual_seed(0)
    try:
        layer = kernel(weight, bias)
        for count in CHECK_ROWS:
            x = torch.randn(count, weight.shape[1], generator=generator)
            wanted = F.linear(x, weight, bias)
            error = float(torch.linalg.norm(layer.rows(x) - wanted) / torch.linalg.norm(wanted))
            if not error <= kernel.tolerance:
                return f"off by {error:.1e}, allowed: {kernel.tolerance:.0e}"
    except (AttributeError, RuntimeError, TypeError, ValueError) as e:
        return f"cannot be used: {' '.join(str(e).split())[:80]}"
    return None


@functools.cache
@torch.inference_mode()
def slowness(kernel: type[PackedLinear]) -> str | None:
    """How slow `kernel` is on this machine, in some words; None where it is not."""
    weight = torch.ones(SPEED_SIZE, SPEED_SIZE)
    layer = kernel(weight, None)
    for count in CHECK_ROWS:
        x = torch.ones(count, SPEED_SIZE)
        slowdown = time_ratio(partial(layer.rows, x), partial(F.linear, x, weight))
        if slowdown > MAX_SLOWDOWN:
            return f"{slowdown:.1f} times the time of float32"
    return None


def time_ratio(work: Callable[[], object], other: Callable[[], object]) -> float:
    """CPU time of one over that of the other on one thread, the quickest of some runs of each in turn: what else runs
    on the machine must not decide which kernel is used, for the kernel decides the bytes of the audio."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [(cpu_seconds(work), cpu_seconds(other)) for _ in range(CHECK_RUNS)]
    finally:
        torch.set_num_threads(threads)
    return min(ours for ours, _ in times) / min(theirs for _, theirs in times)


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def rows_of(layer: nn.Module) -> Rows:
    """What a linear layer, packed or not, does to rows, without the cost of calling a module."""
    if isinstance(layer, nn.Linear):
        return partial(_linear_rows, layer.weight, layer.bias)
    return layer.rows


def _linear_rows(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return F.linear(x, weight, bias)
