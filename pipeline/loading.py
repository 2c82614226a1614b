"""The one way a module gets its weights: built on meta, strict, nothing left on meta.

A checkpoint is one file of the published layout (`pipeline.checkpoints`). It is read from the safetensors
file beside it when there is one (`python weights.py convert` writes those), else from the pickle
(`pipeline.state_dict`).
"""

from __future__ import annotations

import abc
import json
import logging
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.checkpoints import Checkpoint, Section
from pipeline.state_dict import (
    CheckpointError,
    fold_weight_norm,
    left_out,
    listing,
    select_section,
    strip_prefix,
    unpickle,
)

logger = logging.getLogger(__name__)

# Tensors whose last name part is one of these are computed by their module, so a file may hold
# them or not.
CONSTANTS = frozenset(
    {"filter", "freqs", "freqs_cis", "pe", "input_pos", "causal_mask", "masked_bias", "num_batches_tracked"}
)
# safetensors metadata of files written by this project's training: extra keys there are an error.
OWN_FILE = {"producer": "indextts2-cog"}


def converted_path(path: Path) -> Path:
    """Where the safetensors copy of a published pickle lies."""
    return path.with_suffix(".safetensors")


def checkpoint_path(directory: Path, checkpoint: Checkpoint) -> Path:
    """The file that is read for `checkpoint`: the converted one where there is one."""
    path = directory / checkpoint.file
    return converted_path(path) if converted_path(path).is_file() else path


def is_mapped(path: Path) -> bool:
    """Whether the tensors read from a checkpoint are its memory-mapped pages (a pickle of the old format is
    read whole)."""
    return path.suffix == ".safetensors" or zipfile.is_zipfile(path)


@dataclass(frozen=True)
class State:
    """A section's tensors with what is known about their file."""

    tensors: dict[str, Tensor]
    source: str
    section: Section
    own: bool  # written by this project: extra keys are an error


def read_checkpoint(directory: Path, checkpoint: Checkpoint) -> dict[str, State]:
    """Every section of a checkpoint in a model directory, on the CPU.

    Raises CheckpointError when the file is absent or unreadable or lacks a section."""
    path = directory / checkpoint.file
    if converted_path(path).is_file():
        return _read_safetensors(converted_path(path), checkpoint)
    if not path.is_file():
        raise CheckpointError(f"missing file {checkpoint.file} in {directory}")
    content = unpickle(path)
    if unused := left_out(content, checkpoint.sections.values()):
        logger.info("%s: entries not used: %s", checkpoint.file, listing(unused))
    return {
        name: State(select_section(content, section, checkpoint.file), checkpoint.file, section, own=False)
        for name, section in checkpoint.sections.items()
    }


def _read_safetensors(path: Path, checkpoint: Checkpoint) -> dict[str, State]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            own = (file.metadata() or {}).get("producer") == OWN_FILE["producer"]
            names = file.keys()  # the file itself cannot be iterated over
            tensors = strip_prefix({name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError, json.JSONDecodeError) as e:
        raise CheckpointError(f"{path.name}: not a readable safetensors file: {e}") from e
    states = {}
    for name, section in checkpoint.sections.items():
        part = {
            key.removeprefix(section.prefix): tensor
            for key, tensor in tensors.items()
            if key.startswith(section.prefix)
        }
        if not part:
            raise CheckpointError(f"{path.name}: no keys that start with '{section.prefix}'")
        states[name] = State(part, path.name, section, own)
    return states


class Constants(nn.Module, abc.ABC):
    """A module with buffers that are computed, not loaded: `constants` returns them by attribute name,
    in float32. Subclasses call `init_constants` at the end of their `__init__`; `load_module` calls it
    again for modules built on meta."""

    @abc.abstractmethod
    def constants(self) -> dict[str, Tensor]:
        """The computed buffers, on the CPU."""

    def init_constants(self, device: torch.device | str | None = None) -> None:
        with torch.device("cpu"):  # also where modules are made on meta: computing there imports a compiler
            constants = self.constants()
        for name, value in constants.items():
            self.register_buffer(name, value if device is None else value.to(device), persistent=False)


class NoInitialValues(TorchFunctionMode):
    """Modules made in this context draw no initial values: on meta they would have none anyway, and drawing the first
    of them there imports a compiler, in seconds."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_module(
    make: Callable[[], nn.Module],
    state: State,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """A module in eval mode, built on meta and filled from `state` on `device`.

    Raises CheckpointError listing every missing and misshapen key. Extra keys are a warning for a
    published file and an error for one of our own."""
    with torch.device("meta"), NoInitialValues():
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
    misshapen = [
        f"{key} is {list(offered[key].shape)}, expected {list(blank.shape)}"
        for key, blank in wanted.items()
        if key in offered and offered[key].shape != blank.shape
    ]
    extra = sorted(
        key
        for key in set(offered) - set(wanted)
        if not any(re.match(pattern, key) for pattern in state.section.unused)
    )
    problems = [
        f"{what}: {listing(keys)}" for what, keys in (("missing", missing), ("misshapen", misshapen)) if keys
    ]
    if extra and state.own:
        problems.append(f"unexpected: {listing(extra)}")
    elif extra:
        logger.warning("%s: %d keys not used: %s", state.source, len(extra), listing(extra))
    if problems:
        raise CheckpointError(f"{state.source}: " + "; ".join(problems))
