"""State dicts out of published pickles: read without running anything, unwrapped, weight norm folded."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipeline.checkpoints import BARE_TENSOR, Section


class CheckpointError(ValueError):
    """A checkpoint that is absent, unreadable, or does not fit the module it is for."""


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
            # on meta its shape and type are all there is, and computing there imports a compiler, in seconds
            weight = (
                value if value.is_meta else torch._weight_norm(value.float(), g.float(), 0).to(value.dtype)
            )
            folded[key[:-2]] = weight
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
            raise CheckpointError(
                f"{source}: no entry '{'.'.join(section.path)}'; it has "
                f"{', '.join(map(str, content)) if isinstance(content, Mapping) else type(content)}"
            )
    if isinstance(content, Tensor):
        content = {BARE_TENSOR: content}
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{source}: expected a state dict at '{'.'.join(section.path)}'")
    strays = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strays:
        raise CheckpointError(f"{source}: not tensors: {listing(strays)}")
    return strip_prefix(content)


def left_out(content: object, sections: Iterable[Section]) -> list[str]:
    """The entries of a published pickle, by their dotted names, that lie beside those that `sections` read."""
    paths = [section.path for section in sections]
    found = []
    for depth in range(max(map(len, paths), default=0)):
        for parent in dict.fromkeys(path[:depth] for path in paths if len(path) > depth):
            entry = content
            for key in parent:
                entry = entry.get(key) if isinstance(entry, Mapping) else None
            used = {path[depth] for path in paths if path[:depth] == parent and len(path) > depth}
            if isinstance(entry, Mapping) and used <= set(entry):
                found += [".".join((*parent, str(key))) for key in entry if key not in used]
    return found


def unpickle(path: Path) -> object:
    """A published pickle, memory-mapped where its format allows, with nothing but tensors in it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = str(e).strip().splitlines() or [type(e).__name__]
        named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(e))
        detail = f"it asks for {named.group(1)}, which is not a tensor" if named else reason[0]
        raise CheckpointError(f"{path.name}: not a readable tensor file: {detail}") from e


def listing(keys: list[str], limit: int = 12) -> str:
    """Keys for a message, cut after `limit`."""
    more = f" and {len(keys) - limit} more" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + more
