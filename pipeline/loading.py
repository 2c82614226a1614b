"""The one way a module gets its weights: built on meta, strict, nothing left on meta.

A checkpoint is one file of the published layout (`CHECKPOINTS`). It is read from the safetensors
file beside it when there is one (`python weights.py convert` writes those), else with
`torch.load(weights_only=True)`. Renames, prefixes and weight-norm folding happen here and nowhere
else.
"""
from __future__ import annotations

import abc
import json
import logging
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Tensors whose last name part is one of these are computed by their module, so a file may hold
# them or not.
CONSTANTS = frozenset({"filter", "freqs", "freqs_cis", "pe", "input_pos", "causal_mask", "masked_bias",
                       "num_batches_tracked"})
# safetensors metadata of files written by this project's training: extra keys there are an error.
OWN_FILE = {"producer": "indextts2-cog"}


class CheckpointError(ValueError):
    """A checkpoint that is absent, unreadable, or does not fit the module it is for."""


@dataclass(frozen=True)
class Section:
    """One state dict inside a checkpoint file.

    path: keys to descend from the file's top; every one may be absent when `optional_path`.
    prefix: what its keys start with in the converted safetensors file.
    unused: regular expressions of published keys that inference does not need.
    weight_norm: regular expressions of parameters the publication stores as weight_g and weight_v.
    """
    path: tuple[str, ...] = ()
    prefix: str = ""
    optional_path: bool = False
    unused: tuple[str, ...] = ()
    weight_norm: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    file: str
    sections: Mapping[str, Section] = field(default_factory=lambda: {"": Section()})


CHECKPOINTS: Mapping[str, Checkpoint] = {
    "gpt": Checkpoint("gpt.pth", {"": Section(
        path=("model",), optional_path=True,
        unused=(r"text_head\.", r"gpt\.h\.\d+\.attn\.(masked_)?bias$", r"gpt\.wte\."))}),
    "s2mel": Checkpoint("s2mel.pth", {
        "cfm": Section(("net", "cfm"), "cfm.", unused=(
            r"estimator\.(cond_embedder|content_mask_embedder|x_embedder)\.",
            r"estimator\.transformer\.layers\.\d+\.skip_in_linear\."),
            weight_norm=(r"estimator\.wavenet\..*\.conv\.conv\.weight$",
                         r"estimator\.final_layer\.linear\.weight$", r"estimator\.x_embedder\.weight$")),
        "length_regulator": Section(("net", "length_regulator"), "length_regulator.",
                                    unused=(r"embedding\.", r"mask_token$")),
        "gpt_layer": Section(("net", "gpt_layer"), "gpt_layer.")}),
    "semantic_stats": Checkpoint("wav2vec2bert_stats.pt"),
    "speaker_matrix": Checkpoint("feat1.pt"),
    "emotion_matrix": Checkpoint("feat2.pt"),
    "semantic": Checkpoint("w2v-bert-2.0/model.safetensors", {"": Section(
        unused=(r"encoder\.layers\.\d+\.", r"masked_spec_embed$", r"adapter\.", r"intermediate_ffn\."))}),
    "codec": Checkpoint("semantic_codec/model.safetensors", {"": Section(
        unused=(r"decoder\.",), weight_norm=(r"quantizer\.quantizers\.0\.(in|out)_project\.weight$",))}),
    "speaker": Checkpoint("campplus_cn_common.bin"),
    "vocoder": Checkpoint("bigvgan/bigvgan_generator.pt", {"": Section(
        path=("generator",), optional_path=True,
        weight_norm=(r"conv_pre\.weight$", r"conv_post\.weight$", r"ups\.\d+\.0\.weight$",
                     r"resblocks\.\d+\.convs[12]\.\d+\.weight$"))}),
}
BARE_TENSOR = "matrix"  # the key a file that is a single tensor (feat1.pt) gets


# --- state dicts ------------------------------------------------------------------------------

def strip_prefix(state: Mapping[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """`state` without `prefix` at the start of its keys (data-parallel training leaves it)."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each pair `X.weight_g`, `X.weight_v` as the `X.weight` it stands for: g · v / ‖v‖, the norm over
    all axes but the first (`torch._weight_norm`'s dim 0)."""
    folded = {}
    for key, value in state.items():
        if key.split(".")[-1] == "weight_v":
            g = state.get(key[:-1] + "g")
            if g is None:
                raise CheckpointError(f"weight norm: {key} has no {key[:-1] + 'g'}")
            folded[key[:-2]] = torch._weight_norm(value.float(), g.float(), 0).to(value.dtype)
        elif key.split(".")[-1] != "weight_g":
            folded[key] = value
        elif key[:-1] + "v" not in state:
            raise CheckpointError(f"weight norm: {key} has no {key[:-1] + 'v'}")
    return folded


def select_section(content: object, section: Section, source: str) -> dict[str, Tensor]:
    """The state dict of `section` out of a published pickle's content."""
    for key in section.path:
        if isinstance(content, Mapping) and key in content:
            content = content[key]
        elif not section.optional_path:
            raise CheckpointError(f"{source}: no entry '{'.'.join(section.path)}'; it has "
                                  f"{', '.join(map(str, content)) if isinstance(content, Mapping) else type(content)}")
    if isinstance(content, Tensor):
        content = {BARE_TENSOR: content}
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{source}: expected a state dict at '{'.'.join(section.path)}'")
    strays = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strays:
        raise CheckpointError(f"{source}: not tensors: {listing(strays)}")
    return strip_prefix(content)


def unpickle(path: Path) -> object:
    """A published pickle, memory-mapped where its format allows, with nothing but tensors in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = str(e).strip().splitlines() or [type(e).__name__]
        named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(e))
        detail = f"it asks for {named.group(1)}, which is not a tensor" if named else reason[0]
        raise CheckpointError(f"{path.name}: not a readable tensor file: {detail}") from e


def converted_path(path: Path) -> Path:
    """Where the safetensors copy of a published pickle lies."""
    return path.with_suffix(".safetensors")


def checkpoint_path(directory: Path, name: str) -> Path:
    """The file that is read for checkpoint `name`: the converted one where there is one."""
    path = directory / CHECKPOINTS[name].file
    return converted_path(path) if converted_path(path).is_file() else path


@dataclass(frozen=True)
class State:
    """A section's tensors with what is known about their file."""
    tensors: dict[str, Tensor]
    source: str
    section: Section
    own: bool  # written by this project: extra keys are an error


def read_checkpoint(directory: Path, name: str) -> dict[str, State]:
    """Every section of checkpoint `name` (a key of CHECKPOINTS) in a model directory, on the CPU.

    Raises CheckpointError when the file is absent or unreadable or lacks a section."""
    return read_file(directory, CHECKPOINTS[name])


def read_file(directory: Path, checkpoint: Checkpoint) -> dict[str, State]:
    """`read_checkpoint` of one that is not in the table."""
    path = directory / checkpoint.file
    if converted_path(path).is_file():
        return _read_safetensors(converted_path(path), checkpoint)
    if not path.is_file():
        raise CheckpointError(f"missing file {checkpoint.file} in {directory}")
    content = unpickle(path)
    used = {section.path[0] for section in checkpoint.sections.values() if section.path}
    if used and isinstance(content, Mapping) and used <= set(content) and len(content) > len(used):
        logger.info("%s: entries not used: %s", checkpoint.file,
                    listing([str(key) for key in content if key not in used]))
    return {name: State(select_section(content, section, checkpoint.file), checkpoint.file, section, own=False)
            for name, section in checkpoint.sections.items()}


def _read_safetensors(path: Path, checkpoint: Checkpoint) -> dict[str, State]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            own = (file.metadata() or {}).get("producer") == OWN_FILE["producer"]
            tensors = strip_prefix({key: file.get_tensor(key) for key in file.keys()})
    except (SafetensorError, OSError, json.JSONDecodeError) as e:
        raise CheckpointError(f"{path.name}: not a readable safetensors file: {e}") from e
    states = {}
    for name, section in checkpoint.sections.items():
        part = {key.removeprefix(section.prefix): tensor for key, tensor in tensors.items()
                if key.startswith(section.prefix)}
        if not part:
            raise CheckpointError(f"{path.name}: no keys that start with '{section.prefix}'")
        states[name] = State(part, path.name, section, own)
    return states


def listing(keys: list[str], limit: int = 12) -> str:
    """Keys for a message, cut after `limit`."""
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more


# --- modules ----------------------------------------------------------------------------------

class Constants(nn.Module, abc.ABC):
    """A module with buffers that are computed, not loaded: `constants` returns them by attribute name,
    in float32. Subclasses call `init_constants` at the end of their `__init__`; `load_module` calls it
    again for modules built on meta."""

    @abc.abstractmethod
    def constants(self) -> dict[str, Tensor]:
        """The computed buffers, on the CPU."""

    def init_constants(self, device: torch.device | str | None = None) -> None:
        for name, value in self.constants().items():
            self.register_buffer(name, value if device is None else value.to(device), persistent=False)


def load_module(make: Callable[[], nn.Module], state: State, device: torch.device | str = "cpu",
                dtype: torch.dtype = torch.float32) -> nn.Module:
    """A module in eval mode, built on meta and filled from `state` on `device`.

    Raises CheckpointError listing every missing and misshapen key. Extra keys are a warning for a
    published file and an error for one of our own."""
    with torch.device("meta"):
        module = make()
    wanted = {key: tensor for key, tensor in module.state_dict().items() if not is_constant(key)}
    offered = {key: tensor for key, tensor in fold_weight_norm(state.tensors).items() if not is_constant(key)}
    check_keys(wanted, offered, state)
    filled = {}
    for key, blank in wanted.items():
        target = dtype if blank.is_floating_point() else blank.dtype
        filled[key] = offered[key].to(device=device, dtype=target).contiguous()
    for key, blank in module.state_dict().items():
        if is_constant(key):
            filled[key] = torch.zeros(blank.shape, dtype=blank.dtype, device=device)
    module.load_state_dict(filled, strict=True, assign=True)
    for part in module.modules():
        if isinstance(part, Constants):
            part.init_constants(device)
    left = [name for name, tensor in [*module.named_parameters(), *module.named_buffers()] if tensor.is_meta]
    if left:
        raise CheckpointError(f"{state.source}: left without values: {listing(left)}")
    return module.eval().requires_grad_(False)


def is_constant(key: str) -> bool:
    return key.rsplit(".", 1)[-1] in CONSTANTS


def check_keys(wanted: Mapping[str, Tensor], offered: Mapping[str, Tensor], state: State) -> None:
    missing = sorted(set(wanted) - set(offered))
    misshapen = [f"{key} is {list(offered[key].shape)}, expected {list(blank.shape)}"
                 for key, blank in wanted.items() if key in offered and offered[key].shape != blank.shape]
    extra = sorted(key for key in set(offered) - set(wanted)
                   if not any(re.match(pattern, key) for pattern in state.section.unused))
    problems = [f"{what}: {listing(keys)}" for what, keys in (("missing", missing), ("misshapen", misshapen)) if keys]
    if extra and state.own:
        problems.append(f"unexpected: {listing(extra)}")
    elif extra:
        logger.warning("%s: %d keys not used: %s", state.source, len(extra), listing(extra))
    if problems:
        raise CheckpointError(f"{state.source}: " + "; ".join(problems))
