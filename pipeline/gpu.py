"""What a precision (`pipeline.precision`) means on a GPU.

| | GPT and its conditioners | w2v-bert | flow | vocoder | other float32 products |
|---|---|---|---|---|---|
| exact | float32 | float32 | float32 | float32 | float32, no TF32 |
| fast | the model's half (`gpt.half`) | float16 | bfloat16 products, float32 state | TF32 products | TF32 |
| smallest | int8 weights of the blocks, the model's half | float16 | as fast | TF32 products | TF32 |

The semantic codec, whose codes are choices, is in float32 throughout. docs/gpu.md has what
`script/gpu-check` showed on one GPU.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.gpt.model import UnifiedVoice
from pipeline.packed import INT8_MAX
from pipeline.precision import linears, matrix
from pipeline.s2mel.dit import DiT
from pipeline.vocoder.bigvgan import BigVGAN
from pipeline.vocoder.fused import fuse

logger = logging.getLogger(__name__)


def load_dtype(precision: str, checkpoint: str, half: str) -> torch.dtype:
    """The type that a checkpoint's tensors are loaded in; `half`: the GPT's own (`gpt.half`)."""
    halves = {"gpt": getattr(torch, half), "semantic": torch.float16}
    return torch.float32 if precision == "exact" else halves.get(checkpoint, torch.float32)


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products of this process may drop to TF32, ten bits instead of 23: said for matrices and for
    convolutions, whose defaults differ."""
    if hasattr(torch.backends.cudnn, "conv"):  # PyTorch 2.9 and later; mixing both ways is an error there
        word = "tf32" if allowed else "ieee"
        torch.backends.cuda.matmul.fp32_precision = word
        torch.backends.cudnn.conv.fp32_precision = word
    else:
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


class GPUInt8Linear(nn.Module):
    """x Wᵀ + b with W [N, K] in int8 and a scale per output; products in the type of x. Half the memory of
    float16; each call makes the layer's weights anew in that type, so it is slower."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        wide = weight.float()
        scales = wide.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / INT8_MAX
        self.weight: Tensor
        self.scales: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", (wide / scales[:, None]).round().to(torch.int8).contiguous())
        self.register_buffer("scales", scales.to(weight.dtype))
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def rows(self, x: Tensor) -> Tensor:
        """[R, K] -> [R, N]"""
        y = F.linear(x, self.weight.to(x.dtype)) * self.scales
        return y if self.bias is None else y + self.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)


def apply_precision(precision: str, module: nn.Module) -> None:
    """Make a module that was just loaded in `load_dtype` what `precision` says, in place."""
    if isinstance(module, UnifiedVoice) and precision == "smallest":
        for parent, name, layer in linears(module.gpt):
            bias = layer.bias if isinstance(layer.bias, Tensor) else None
            setattr(parent, name, GPUInt8Linear(matrix(layer), bias))
    elif isinstance(module, BigVGAN):
        if fuse(module):
            logger.info("vocoder: fused activation")
    elif isinstance(dit := getattr(module, "estimator", None), DiT) and precision != "exact":
        dit.compute_in(torch.bfloat16)
