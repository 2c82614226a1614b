"""Adapters on disk: `adapter.safetensors`, bound to the model it was trained for, alone or in the archive of
a training.

Whatever a file holds is checked before any of it is used: it comes from a stranger.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.adapter import DOWN, FULL_PARAMETERS, UP, Adapter, full_parameters, lora_layers
from pipeline.adapter_methods import METHODS
from pipeline.config import ModelConfig
from pipeline.model import Model
from pipeline.state_dict import listing

FORMAT, FORMAT_VERSION = "indextts2-cog adapter", "1"
NAME = "adapter.safetensors"  # in an archive
MAX_HEADER_BYTES = 1_000_000
LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header
MAX_RANK = 256
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
FLOAT_BYTES = 4
SHOWN = 3  # keys in a message


class AdapterError(ValueError):
    """An adapter that cannot be used: one line that says what is wrong with it."""


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter says of itself: method, rank (0: not LoRA), and the model it belongs to."""

    method: str
    rank: int
    model: str
    fingerprint: str


def write_adapter(path: Path, adapter: Adapter, model: Model) -> None:
    """Write `adapter`, trained for `model`."""
    ranks = {len(value) for key, value in adapter.tensors.items() if key.endswith(DOWN)}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "method": adapter.method,
        "rank": str(max(ranks, default=0)),
        "model": model.config.name,
        "fingerprint": model.fingerprint,
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(adapter.tensors.items())}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_adapter(path: Path, model: Model) -> Adapter:
    """The adapter in a file or in the archive of a training. Raises AdapterError for one that is damaged, of another
    model, or holds anything but what an adapter holds."""
    content = read_content(path, most_bytes(model.config))
    info = read_info(content)
    if info.fingerprint != model.fingerprint:
        raise AdapterError(
            f"the adapter was trained on model '{info.model[:60]}' ({info.fingerprint[:12]}); this is "
            f"'{model.config.name}' ({model.fingerprint[:12]})"
        )
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as e:
        raise AdapterError(f"the adapter is damaged: {_line(e)}") from e
    check_tensors(tensors, info, model.config)
    return Adapter(info.method, tensors, hashlib.sha256(content).hexdigest())


def most_bytes(config: ModelConfig) -> int:
    """Of an adapter for such a model: all that can be trained, in float32."""
    parameters = sum(shape.numel() for shape in full_parameters(config, FULL_PARAMETERS).values())
    return FLOAT_BYTES * parameters + MAX_HEADER_BYTES + LENGTH_BYTES


def read_content(path: Path, most: int) -> bytes:
    """The bytes of the safetensors file, out of the archive if it is in one."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise AdapterError("the adapter is not a regular file")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _member(archive, most)
        if status.st_size > most:
            raise AdapterError(f"the adapter has {status.st_size:,} bytes; allowed: at most {most:,}")
        return path.read_bytes()
    except OSError as e:
        raise AdapterError(f"the adapter cannot be read: {e.strerror or _line(e)}") from e
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as e:
        raise AdapterError(f"the adapter's archive is damaged: {_line(e)}") from e


def _member(archive: zipfile.ZipFile, most: int) -> bytes:
    found = [entry for entry in archive.infolist() if Path(entry.filename).name == NAME]
    if len(found) != 1:
        raise AdapterError(f"the archive holds {len(found)} files {NAME}; expected: one")
    with archive.open(found[0]) as file:
        content = file.read(most + 1)  # whatever its header says
    if len(content) > most:
        raise AdapterError(f"the adapter in the archive has over {most:,} bytes; allowed: at most {most:,}")
    return content


def read_info(content: bytes) -> AdapterInfo:
    """What an adapter says of itself. Raises AdapterError."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if content[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        raise AdapterError("the adapter is not a safetensors file; give adapter.safetensors or its archive")
    if length > min(MAX_HEADER_BYTES, len(content) - LENGTH_BYTES):
        raise AdapterError(
            f"the adapter is damaged: its header claims {length:,} bytes, the file has {len(content):,}"
        )
    try:
        metadata = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length]).get("__metadata__") or {}
        if metadata.get("format") != FORMAT:
            raise AdapterError(
                f"the file is a safetensors file, but no adapter (format '{str(metadata.get('format'))[:40]}')"
            )
        if metadata.get("format_version") != FORMAT_VERSION:
            raise AdapterError(
                f"the adapter has format version {str(metadata.get('format_version'))[:20]}; "
                f"allowed: {FORMAT_VERSION}"
            )
        info = AdapterInfo(
            str(metadata["method"]),
            int(metadata["rank"]),
            str(metadata["model"]),
            str(metadata["fingerprint"]),
        )
    except AdapterError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise AdapterError(f"the adapter is damaged: its header is unreadable ({_line(e)})") from e
    if info.method not in METHODS:
        raise AdapterError(f"the adapter's method is '{info.method[:40]}'; allowed: {', '.join(METHODS)}")
    return info


def check_tensors(tensors: Mapping[str, Tensor], info: AdapterInfo, config: ModelConfig) -> None:
    """Keys, shapes, types and values. Raises AdapterError naming the first tensors that are wrong."""
    if not tensors:
        raise AdapterError("the adapter holds no tensors")
    wanted = lora_shapes(tensors, info, config) if info.method == "lora" else full_shapes(tensors, config)
    if unknown := sorted(set(tensors) - set(wanted)):
        raise AdapterError(
            f"the adapter holds what {info.method} does not change: {listing(unknown[:SHOWN])}"
        )
    if missing := sorted(set(wanted) - set(tensors)):
        raise AdapterError(f"the adapter lacks {listing(missing[:SHOWN])}")
    for key, shape in wanted.items():
        tensor = tensors[key]
        if tuple(tensor.shape) != tuple(shape):
            raise AdapterError(f"the adapter's {key} is {list(tensor.shape)}; expected {list(shape)}")
        if tensor.dtype not in DTYPES:
            raise AdapterError(
                f"the adapter's {key} is {tensor.dtype}; allowed: {', '.join(map(str, DTYPES))}"
            )
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"the adapter's {key} has values that are not finite (NaN or infinity)")


def lora_shapes(
    tensors: Mapping[str, Tensor], info: AdapterInfo, config: ModelConfig
) -> dict[str, tuple[int, ...]]:
    """Both matrices of every layer that one of them is given of."""
    if not 1 <= info.rank <= MAX_RANK:
        raise AdapterError(f"the adapter's rank is {info.rank}; allowed: 1 to {MAX_RANK}")
    given = {re.sub(rf"\.({DOWN}|{UP})$", "", key) for key in tensors}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in lora_layers(config, FULL_PARAMETERS).items():
        if layer in given:
            shapes |= {f"{layer}.{DOWN}": (info.rank, inputs), f"{layer}.{UP}": (outputs, info.rank)}
    return shapes


def full_shapes(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """All that can be replaced of every part that something is given of."""
    given = {key.partition(".")[0] for key in tensors} & set(FULL_PARAMETERS)
    return {key: tuple(shape) for key, shape in full_parameters(config, given).items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
