"""The part of a model that is trained: an adapter whose tensors are parameters, beside a model that stays."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from finetune.options import CHECKPOINTING_WIDTH, RANK
from pipeline.adapter import DOWN, UP, Adapter, adapted, full_parameters, lora_layers, parts_of
from pipeline.model import Model


class Trained(nn.Module):
    """Parameters by the names they have in an adapter; they are those of `model`, which shares all else with
    its base."""

    def __init__(self, base: Model, method: str, parts: Sequence[str], seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        tensors = first_lora(base, parts, generator) if method == "lora" else first_full(base, parts)
        self.method, self.names = method, tuple(sorted(tensors))
        self.model = adapted(base, Adapter(method, tensors))
        self.values = nn.ParameterList(self._find(name).requires_grad_() for name in self.names)

    def _find(self, name: str) -> nn.Parameter:
        part, _, key = name.partition(".")
        module = parts_of(self.model)[part]
        for ending, attribute in ((DOWN, "down"), (UP, "up")):
            key = f"{key.removesuffix(ending)}{attribute}" if key.endswith(ending) else key
        return module.get_parameter(key)

    def tensors(self, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """An adapter's tensors: as they are now, or of a state dict of this module."""
        held = self.state_dict() if state is None else state
        return {name: held[f"values.{index}"].detach().clone() for index, name in enumerate(self.names)}

    @contextmanager
    def holding(self, state: Mapping[str, Tensor]) -> Iterator[None]:
        """With the values of a state dict (an average), and then with its own again."""
        own = {key: value.detach().clone() for key, value in self.state_dict().items()}
        self.load_state_dict(state)
        try:
            yield
        finally:
            self.load_state_dict(own)


def first_lora(base: Model, parts: Sequence[str], generator: torch.Generator) -> dict[str, Tensor]:
    """Down random, up zero: at first the model is its base."""
    tensors = {}
    for layer, (inputs, outputs) in lora_layers(base.config, parts).items():
        tensors[f"{layer}.{DOWN}"] = torch.randn(RANK, inputs, generator=generator) * inputs**-0.5
        tensors[f"{layer}.{UP}"] = torch.zeros(outputs, RANK)
    return tensors


def first_full(base: Model, parts: Sequence[str]) -> dict[str, Tensor]:
    shapes = full_parameters(base.config, parts)
    held = {f"{part}.{key}": v for part in parts for key, v in parts_of(base)[part].named_parameters()}
    return {key: held[key].detach().float().clone() for key in shapes}


def save_memory(trained: Trained) -> None:
    """Let a large model compute a block's activations again on the way back rather than keep them."""
    model = trained.model
    if model.config.gpt.model_dim < CHECKPOINTING_WIDTH:
        return
    blocks = {"gpt": model.gpt.gpt.h, "dit": model.dit.transformer.layers}
    for part in {name.partition(".")[0] for name in trained.names} & set(blocks):
        for block in blocks[part]:  # its own: all that leads to a trained layer was copied
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
