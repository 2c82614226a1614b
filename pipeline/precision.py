"""How the numbers of a model are kept and multiplied: one word, the same on every device.

| | GPT | w2v-bert | flow | vocoder |
|---|---|---|---|---|
| exact | float32 | float32 | float32 | float32 |
| fast | float16 weights, float32 sums | float16 weights | bfloat16 products, float32 state | float32 |
| smallest | int8 weights | int8 weights | bfloat16 products, float32 state | float32 |

On a CPU the kernels are chosen when a model is loaded, by what they give and how long they take on the machine; a
precision that it has no kernel for falls to the next better one, and a line of the log says so. Packing a layer frees
its original.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.gpt.model import Conv1D, UnifiedVoice
from pipeline.memory import release, trim
from pipeline.packed import SPEED_SIZE, HalfLinear, Int8Linear, OneDNNLinear, PackedLinear, choose, time_ratio
from pipeline.s2mel.dit import DiT
from pipeline.vocoder.bigvgan import BigVGAN
from pipeline.vocoder.fused import fuse
from pipeline.vocoder.winograd import speed_up

logger = logging.getLogger(__name__)

Kernels = Sequence[type[PackedLinear]]  # the best first
GPT_KERNELS: dict[str, Kernels] = {
    "exact": (OneDNNLinear,),
    "fast": (HalfLinear, OneDNNLinear),
    "smallest": (Int8Linear, HalfLinear, OneDNNLinear),
}
# the head picks the codes and the conditioners are run once: neither gains by int8
OTHER_KERNELS: Kernels = (HalfLinear,)
SEMANTIC_KERNELS: dict[str, Kernels] = {"fast": OTHER_KERNELS, "smallest": (Int8Linear, *OTHER_KERNELS)}
TRIM_BYTES = (
    2**26
)  # of packed weights: what packing one took lies between what stays of it and its neighbours
MIN_WEIGHTS = 16384  # of a layer, outside the GPT's own, that is worth packing
FLOW_ROWS = 256
FLOW_TOLERANCE = 1e-2  # bfloat16 has 8 bits
FLOW_MIN_GAIN = 1.3  # a CPU with bfloat16 products has 2 and more, one without below 1: no machine is near it


def apply_precision(precision: str, checkpoint: str, module: nn.Module, mapped: bool) -> None:
    """Make a module that was just loaded on the CPU what `precision` says, in place. `mapped`: its tensors are those of
    a memory-mapped file or its own, so that what is packed can be given back at once."""
    if isinstance(module, UnifiedVoice):
        pack(module.gpt, GPT_KERNELS[precision], "GPT", mapped)
        head = GPT_KERNELS["fast" if precision == "smallest" else precision]
        pack(module, head, "GPT head", mapped, only="mel_head")
        if precision != "exact":
            pack(module, OTHER_KERNELS, "GPT conditioners", mapped, MIN_WEIGHTS)
    elif checkpoint == "semantic" and precision != "exact":
        pack(module, SEMANTIC_KERNELS[precision], "w2v-bert", mapped, MIN_WEIGHTS)
    elif isinstance(module, BigVGAN):
        if fuse(module):
            logger.info("vocoder: float32 with the fused activation")
        # their weights take twice the memory, which is what "smallest" is to save
        if precision != "smallest" and (count := speed_up(module, mapped)):
            logger.info("vocoder: %d convolutions with half the multiplications", count)
    elif isinstance(getattr(module, "estimator", None), DiT) and precision != "exact":
        if (reason := no_bfloat16(module.estimator)) is None:
            module.estimator.compute_in(torch.bfloat16)
            logger.info("flow: bfloat16 products")
        else:
            logger.warning("flow: float32; not bfloat16: %s", reason)


class Pointwise(nn.Module):
    """A packed layer where a convolution of one tap was: [B, K, T] -> [B, N, T]."""

    def __init__(self, packed: PackedLinear):
        super().__init__()
        self.packed = packed

    def forward(self, x: Tensor) -> Tensor:
        return self.packed(x.transpose(1, 2)).transpose(1, 2)


def linears(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name, layer) of every linear layer under `module`, convolutions over time of one tap among them."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, (nn.Linear, Conv1D)) or is_pointwise(layer):
                yield parent, name, layer


def is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv1d) and (layer.kernel_size, layer.stride, layer.groups) == ((1,), (1,), 1)


def pack(
    module: nn.Module,
    kernels: Kernels,
    what: str,
    mapped: bool,
    min_weights: int = 0,
    only: str | None = None,
) -> None:
    """Put packed layers in the place of the linear ones of at least `min_weights` weights under `module`, or in that of
    the one called `only`."""
    found = [
        (parent, name, layer)
        for parent, name, layer in linears(module)
        if layer.weight.numel() >= min_weights and only in (None, name)
    ]
    shapes = {layer.weight.shape: (matrix(layer), layer.bias) for _, _, layer in found}
    kernel = choose(kernels, list(shapes.values()), what) if shapes else None
    if kernel is None:
        return
    behind = 0  # bytes of weights that were packed since memory was given back
    for parent, name, layer in found:
        try:
            packed = kernel(matrix(layer), layer.bias)
        except ValueError as e:
            logger.warning("%s: a layer stays float32: %s", what, e)
            continue
        setattr(parent, name, Pointwise(packed) if is_pointwise(layer) else packed)
        if mapped:
            release(layer.weight)
        behind += layer.weight.nbytes
        if behind > TRIM_BYTES:
            trim()
            behind = 0


def matrix(layer: nn.Module) -> Tensor:
    """The weight [N, K] of a linear layer."""
    return layer.weight.t() if isinstance(layer, Conv1D) else layer.weight.flatten(1)


@torch.inference_mode()
def no_bfloat16(dit: DiT) -> str | None:
    """Why this machine should not multiply the flow's matrices in bfloat16, in some words; None where it should."""
    weight = dit.transformer.layers[0].feed_forward.w1.weight
    x = torch.randn(FLOW_ROWS, weight.shape[1], generator=torch.Generator().manual_seed(0))
    low, low_weight = x.bfloat16(), weight.bfloat16()
    try:
        wanted = F.linear(x, weight)
        error = float(
            torch.linalg.norm(F.linear(low, low_weight).float() - wanted) / torch.linalg.norm(wanted)
        )
        if not error <= FLOW_TOLERANCE:
            return f"off by {error:.1e}, allowed: {FLOW_TOLERANCE:.0e}"
        gain = bfloat16_gain()
    except RuntimeError as e:
        return f"cannot be used: {' '.join(str(e).split())[:80]}"
    return f"{gain:.1f} times as fast as float32" if gain < FLOW_MIN_GAIN else None


@functools.cache
@torch.inference_mode()
def bfloat16_gain() -> float:
    """How many times as fast as in float32 this machine multiplies in bfloat16. Of a matrix of one size, whatever the
    model: that of a small one gains so little that chance would decide, and with it the bytes of the audio."""
    x, weight = torch.ones(FLOW_ROWS, SPEED_SIZE), torch.ones(SPEED_SIZE, SPEED_SIZE)
    low, low_weight = x.bfloat16(), weight.bfloat16()
    return 1 / time_ratio(partial(F.linear, low, low_weight), partial(F.linear, x, weight))
