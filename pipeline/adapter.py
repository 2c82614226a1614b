"""Adapters: what fine-tuning changed of a model, put beside it.

Two methods. `lora` adds a product of two thin matrices to linear layers (LoRA, arXiv 2106.09685); `full` replaces
parameters. What makes a Voice of a clip is never changed, so that a voice file speaks with and without an adapter.

An adapted model shares all else with its base, and the base is not touched: a request without an adapter cannot tell
that there ever was one. The thin matrices are a branch beside a layer, whatever kernel the layer is packed for; so
nothing is unpacked, rounded or kept twice, and an adapter is a few megabytes in every precision.

The library `peft` cannot wrap these modules: of layers that store their weight (in, out) it knows only the class of the
`transformers` package, and it replaces layers in place, for which a packed layer has no type.

Axes: K inputs, N outputs, r rank.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import ModelConfig
from pipeline.gpt.model import Conv1D, UnifiedVoice
from pipeline.loading import NoInitialValues
from pipeline.model import Model
from pipeline.packed import PackedLinear, rows_of
from pipeline.s2mel.dit import DiT
from pipeline.s2mel.regulator import make_latent_projection

DOWN, UP = "lora_down", "lora_up"
# The parts of a model that an adapter may change, and in each the layers of LoRA and the parameters of `full`.
LORA_LAYERS = {
    "gpt": re.compile(r"gpt\.h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)"),
    "dit": re.compile(r"transformer\.layers\.\d+\.(attention\.\w+|feed_forward\.\w+|skip_in_linear)"),
    "latent_projection": re.compile(r"(?!)"),
}
FULL_PARAMETERS = {
    "gpt": re.compile(r"(gpt|final_norm|mel_head|(text|mel)_(pos_)?embedding)\..*"),
    "dit": re.compile(r".*"),
    "latent_projection": re.compile(r".*"),
}


class LowRank(nn.Module):
    """A linear layer and a branch beside it: base(x) + (x Dᵀ) Uᵀ, down D [r, K], up U [N, r]."""

    def __init__(self, base: nn.Module, down: Tensor, up: Tensor):
        super().__init__()
        self.base = base
        self.down, self.up = nn.Parameter(down, down.requires_grad), nn.Parameter(up, up.requires_grad)
        self.base_rows = rows_of(base)

    def branch(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.down), self.up)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.branch(x)

    def rows(self, x: Tensor) -> Tensor:
        """[R, K] -> [R, N], without the cost of calling a module."""
        return self.base_rows(x) + self.branch(x)


@dataclass(frozen=True)
class Adapter:
    """method; tensors by PART.KEY, where KEY is that of the part's own checkpoint, or for LoRA a layer's with
    `lora_down` [r, K] or `lora_up` [N, r] in the place of its weight; sha256 names its content."""

    method: str
    tensors: Mapping[str, Tensor]
    sha256: str = ""

    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


def parts_of(model: Model) -> dict[str, nn.Module]:
    """The parts of a model that an adapter may change, by name."""
    parts: dict[str, nn.Module] = {"gpt": model.gpt, "dit": model.dit}
    if model.latent_projection is not None:
        parts["latent_projection"] = model.latent_projection
    return parts


@functools.lru_cache(maxsize=4)
def blank_parts(config: ModelConfig) -> dict[str, nn.Module]:
    """Those parts without values: what an adapter's tensors are held to, however the model's are packed."""
    with torch.device("meta"), NoInitialValues():
        parts: dict[str, nn.Module] = {
            "gpt": UnifiedVoice(config.gpt, config.semantic.hidden_size),
            "dit": DiT(config.s2mel.dit, config.s2mel.wavenet),
        }
        if config.s2mel.latent_widths is not None:
            parts["latent_projection"] = make_latent_projection(
                config.gpt.model_dim, config.s2mel.latent_widths, config.codec.hidden_size
            )
    return parts


def lora_layers(config: ModelConfig, parts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(K, N) of each layer in `parts` that LoRA adapts, by PART.LAYER."""
    found = {}
    for part in parts:
        for name, layer in blank_parts(config)[part].named_modules():
            if LORA_LAYERS[part].fullmatch(name):
                shape = layer.weight.shape
                found[f"{part}.{name}"] = tuple(shape) if isinstance(layer, Conv1D) else tuple(shape[::-1])
    return found


def full_parameters(config: ModelConfig, parts: Iterable[str]) -> dict[str, torch.Size]:
    """The shape of each parameter in `parts` that `full` may replace, by PART.KEY."""
    return {
        f"{part}.{key}": value.shape
        for part in parts
        for key, value in blank_parts(config)[part].named_parameters()
        if FULL_PARAMETERS[part].fullmatch(key)
    }


def adapted(model: Model, adapter: Adapter) -> Model:
    """`model` with `adapter`, whose tensors were checked (`pipeline.adapter_file`); `model` itself stays as it is."""
    changed: dict[str, Any] = {}
    for part, module in parts_of(model).items():
        own = {
            key.removeprefix(f"{part}."): value.to(model.device, torch.float32)
            for key, value in adapter.tensors.items()
            if key.startswith(f"{part}.")
        }
        if own:
            make = with_branches if adapter.method == "lora" else with_parameters
            changed[part] = make(module, own, blank_parts(model.config)[part])
    return dataclasses.replace(model, adapter=adapter.sha256, **changed)


def with_branches(module: nn.Module, tensors: Mapping[str, Tensor], blank: nn.Module) -> nn.Module:
    layers = {key.rpartition(".")[0] for key in tensors}

    def change(name: str, layer: nn.Module) -> nn.Module | None:
        if name not in layers:
            return None
        weight = None if isinstance(layer, PackedLinear) else layer.get_parameter("weight")
        dtype = torch.float32 if weight is None else weight.dtype
        return LowRank(layer, *(tensors[f"{name}.{which}"].to(dtype) for which in (DOWN, UP))).eval()

    return twin(module, change)


def with_parameters(module: nn.Module, tensors: Mapping[str, Tensor], blank: nn.Module) -> nn.Module:
    kinds = dict(blank.named_modules())

    def change(name: str, layer: nn.Module) -> nn.Module | None:
        own = {
            key.rpartition(".")[2]: value for key, value in tensors.items() if key.rpartition(".")[0] == name
        }
        if not own:
            return None
        if isinstance(layer, PackedLinear):
            weight = own["weight"].t() if isinstance(kinds[name], Conv1D) else own["weight"]
            return type(layer)(weight, own.get("bias"))
        changed = shallow(layer)
        for key, value in own.items():
            old = layer.get_parameter(key)
            changed._parameters[key] = nn.Parameter(value.to(old.dtype), requires_grad=False)
        return changed

    return twin(module, change)


def twin(
    module: nn.Module, change: Callable[[str, nn.Module], nn.Module | None], name: str = ""
) -> nn.Module:
    """A module that shares everything with `module` but the layers for whose name `change` gives another."""
    if (changed := change(name, module)) is not None:
        if changed._modules and not isinstance(changed, LowRank):
            changed._modules = twins(changed, change, name)
        return changed
    same = shallow(module)
    same._modules = twins(module, change, name)
    return same


def twins(
    module: nn.Module, change: Callable[[str, nn.Module], nn.Module | None], name: str
) -> dict[str, nn.Module | None]:
    prefix = f"{name}." if name else ""
    return {
        key: None if child is None else twin(child, change, f"{prefix}{key}")
        for key, child in module._modules.items()
    }


def shallow(module: nn.Module) -> nn.Module:
    """A copy that holds the same tensors and parts in dictionaries of its own."""
    same = copy.copy(module)
    for name, held in module.__dict__.items():
        if isinstance(held, dict):  # parameters, buffers, parts and hooks
            same.__dict__[name] = copy.copy(held)
    return same
