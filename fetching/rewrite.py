"""The process that reads pickles and writes their tensors as safetensors, a module at a time.

    python -m fetching.rewrite      a task per line of its input, a report per line of its output, as JSON

The pickle is mapped, not read, and every module's tensors are folded, cast and written before the next
module's are touched, so that memory holds the mapped file and little more. (safetensors' own writer
wants all tensors at once, which for a folded or cast file means a second copy of it in memory.)
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.checkpoints import Section
from pipeline.state_dict import CheckpointError, fold_weight_norm, left_out, listing, select_section, unpickle

# The names safetensors has for dtypes.
CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
# torch.save puts every tensor at a multiple of this. Here too where the format, which allows no gaps, lets
# it be: matrix kernels round differently at other alignments, and a mapped tensor lies as it does in the
# file.
ALIGNMENT = 64
LENGTH = "<Q"  # a safetensors file begins with its header's length


def rewrite(
    source: Path, target: Path, sections: Sequence[Section], dtype: torch.dtype, metadata: dict[str, str]
) -> str:
    """Write the tensors of the pickle at `source` to the safetensors file `target`: `module.` stripped,
    weight norm folded, floating-point tensors as `dtype`. Returns what was left out, for a log.

    sections: the state dicts to read; each is written under its prefix. Raises CheckpointError."""
    content = unpickle(source)
    modules = [
        module
        for section in sections
        for module in by_module(select_section(content, section, source.name), section.prefix)
    ]
    blanks = {
        key: cast(tensor, dtype, key)
        for module in modules
        for key, tensor in fold_weight_norm({k: v.to("meta") for k, v in module.items()}).items()
    }
    header, offsets = layout(blanks, metadata)
    with open(target, "wb") as file:
        file.write(header)
        for module in modules:
            for key, tensor in fold_weight_norm(module).items():
                file.seek(len(header) + offsets[key])
                file.write(raw(cast(tensor, dtype, key)))
    return listing(left_out(content, sections))


def by_module(state: Mapping[str, Tensor], prefix: str) -> Iterator[dict[str, Tensor]]:
    """The tensors of one module at a time, which keeps the two halves of a weight norm together."""
    modules: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        modules.setdefault(key.rpartition(".")[0], {})[prefix + key] = tensor
    yield from modules.values()


def cast(tensor: Tensor, dtype: torch.dtype, key: str) -> Tensor:
    """`tensor` as `dtype` if it is floating-point. Raises CheckpointError for what float16 cannot hold."""
    if not tensor.is_floating_point():
        return tensor
    if dtype == torch.float16 and not tensor.is_meta and tensor.numel():
        low, high = torch.aminmax(tensor)
        largest = max(-low.item(), high.item())
        if largest > torch.finfo(dtype).max:
            raise CheckpointError(
                f"{key} does not fit float16: its largest value is {largest:g}; allowed: float32"
            )
    return tensor.to(dtype)


def layout(blanks: Mapping[str, Tensor], metadata: dict[str, str]) -> tuple[bytes, dict[str, int]]:
    """(the header of a safetensors file, key -> offset of its data). Tensors that keep the alignment come
    first; the few small ones that do not follow, widest elements first."""
    entries: dict[str, object] = {"__metadata__": metadata}
    offsets, position = {}, 0
    for key in sorted(
        blanks, key=lambda key: (blanks[key].nbytes % ALIGNMENT > 0, -blanks[key].element_size(), key)
    ):
        tensor = blanks[key]
        if tensor.dtype not in CODES or tensor.layout != torch.strided:
            raise CheckpointError(
                f"{key} is {tensor.dtype}, {tensor.layout}; allowed: dense, {', '.join(map(str, CODES))}"
            )
        end = position + tensor.nbytes
        entries[key] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        offsets[key], position = position, end
    text = json.dumps(entries, separators=(",", ":")).encode()
    length = struct.calcsize(LENGTH)
    text += b" " * (-(length + len(text)) % ALIGNMENT)
    return struct.pack(LENGTH, len(text)) + text, offsets


def raw(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        try:
            sections = [Section(tuple(section.pop("path")), **section) for section in task["sections"]]
            unused = rewrite(
                Path(task["source"]),
                Path(task["target"]),
                sections,
                getattr(torch, task["dtype"]),
                task["metadata"],
            )
            report = {
                "unused": unused,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        except (CheckpointError, OSError) as e:
            report = {"error": " ".join(str(e).split())}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
