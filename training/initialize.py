"""Starting weights of the inference modules, which leave their parameters empty because they load them."""

import torch
from torch import nn

from pipeline.conditioning.codec import ConvNeXtBlock
from pipeline.gpt.conditioner import PerceiverResampler, RelativeAttention, ScaledNorm
from pipeline.gpt.model import Conv1D, Transformer
from pipeline.s2mel.dit import AdaptiveNorm, DiT, RMSNorm
from training.device import here

NARROW = 0.02  # standard deviation of GPT-2's weights


@torch.no_grad()
def initialize(module: nn.Module, seed: int) -> nn.Module:
    """Give every parameter of `module` a starting value, the same for the same seed; returns the module."""
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, Conv1D):
            nn.init.normal_(part.weight, std=NARROW)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=NARROW)
        elif isinstance(part, RelativeAttention):
            nn.init.zeros_(part.pos_bias_u)
            nn.init.zeros_(part.pos_bias_v)
        elif isinstance(part, PerceiverResampler):
            nn.init.normal_(part.latents, std=NARROW)
        elif isinstance(part, ConvNeXtBlock):
            nn.init.constant_(part.gamma, 0.5)
        elif isinstance(part, ScaledNorm):
            nn.init.ones_(part.gamma)
        elif isinstance(part, RMSNorm):
            nn.init.ones_(part.weight)
    for part in module.modules():
        if isinstance(part, AdaptiveNorm):
            # the scale half starts at 1, the shift half at 0, both hardly moved by the time at first
            nn.init.normal_(part.project_layer.weight, std=NARROW)
            scale, shift = part.project_layer.bias.chunk(2)
            nn.init.ones_(scale)
            nn.init.zeros_(shift)
        elif isinstance(part, Transformer):
            for block in part.h:  # GPT-2: what is added to the residual stream is scaled down with depth
                for projection in (block.attn.c_proj, block.mlp.c_proj):
                    projection.weight.div_((2 * len(part.h)) ** 0.5)
        elif isinstance(part, DiT):
            nn.init.zeros_(part.conv2.weight)
            nn.init.zeros_(part.conv2.bias)
    return here(module)
