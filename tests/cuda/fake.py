"""A GPU that is not there: modules and tensors on `cuda` without values, and an error for whatever would wait for it.

Values cannot be wrong here, places can: a tensor made on the CPU meets one on the GPU, a shape that depends on a value,
a result that is asked for while the device works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.loading import Constants, NoInitialValues

DEVICE = torch.device("cuda", 0)
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "unique",
    "masked_select",
    "item",
    "bincount",
)
ASKING = ("__int__", "__float__", "__bool__", "__index__", "item", "tolist", "numpy", "cpu")
ASKING += ("nonzero", "masked_select", "unique", "equal")
MOVING = ("to", "_to_copy", "copy_", "copy")


class Waits(AssertionError):
    """An operation for which the host waits for the device."""


def devices(values: object) -> set[str]:
    """Of the tensors in a structure, scalars of the host aside: those go to a kernel as numbers."""
    found = [t for t in tree_leaves(values) if isinstance(t, torch.Tensor)]
    return {t.device.type for t in found if t.dim() or t.device.type != "cpu"}


class NoWaiting(TorchDispatchMode):
    """Raises Waits for operations that need a value on the host, copies from one device to the other among them."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(name.startswith(word) for word in WAITING):
            raise Waits(name)
        result = func(*args, **(kwargs or {}))
        if "cuda" in devices(args) and "cpu" in devices(result):
            raise Waits(f"{name}: a result on the host")
        if name in MOVING and len(devices([args, result])) > 1:
            raise Waits(f"{name} from one device to the other")
        return result


def indexed(x: torch.Tensor, index: object) -> torch.Tensor:
    """x[index] by operators: a build of PyTorch without CUDA does not take indices of tensors that say they
    are there."""
    parts = index if isinstance(index, tuple) else (index,)
    given = sum(part is not None and part is not Ellipsis for part in parts)
    tensors: list[torch.Tensor | None] = []
    dim = 0
    for part in parts:
        if part is None:
            x = x.unsqueeze(dim)
        elif part is Ellipsis:
            dim += x.dim() - sum(p is None for p in parts[: parts.index(part)]) - given
            tensors += [None] * (dim - len(tensors))
            continue
        elif isinstance(part, int):
            x = torch.ops.aten.select.int(x, dim, part)
            continue
        elif isinstance(part, slice):
            start, stop, step = part.indices(x.shape[dim])
            x = torch.ops.aten.slice.Tensor(x, dim, start, max(start, stop), step)
        else:
            part = torch.as_tensor(part, device=x.device) if isinstance(part, list) else part
            assert part.dtype != torch.bool, "a mask as index: its result's shape depends on values"
            tensors.append(part)
            dim += 1
            continue
        tensors.append(None)
        dim += 1
    return torch.ops.aten.index.Tensor(x, tensors) if any(t is not None for t in tensors) else x


def copied(target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    return torch.ops.aten.copy_.default(target, source, non_blocking)


def flat(value: int | tuple[int, ...], other: int) -> tuple[int, int]:
    """A convolution's argument for one axis, for two of which the first is `other`."""
    return other, value if isinstance(value, int) else value[0]


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x, weight = x.unsqueeze(-2), weight.unsqueeze(-2)
    shape = flat(stride, 1), flat(padding, 0), flat(dilation, 1)
    return torch.conv2d(x, weight, bias, *shape, groups).squeeze(-2)


def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    x, weight = x.unsqueeze(-2), weight.unsqueeze(-2)
    shape = flat(stride, 1), flat(padding, 0), flat(output_padding, 0)
    return torch.conv_transpose2d(x, weight, bias, *shape, groups, flat(dilation, 1)).squeeze(-2)


def tensor(data, device=None, **kwargs):
    made = torch.tensor(data, **kwargs)
    if device is None:
        return made
    return copied(torch.empty(made.shape, dtype=made.dtype, device=device), torch.zeros(made.shape))


INSTEAD = {torch.conv1d: conv1d, torch.conv_transpose1d: conv_transpose1d, torch.tensor: tensor}


class Pretending(TorchFunctionMode):
    """What PyTorch without CUDA cannot pretend, by operators with which it can."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.__getitem__:
            return indexed(*args)
        if func is torch.Tensor.__setitem__:
            target, index, value = args
            view = indexed(target, index)
            return copied(view, value) if isinstance(value, torch.Tensor) else view.fill_(value)
        name = getattr(func, "__name__", "")
        if name in ASKING and isinstance(args[0], torch.Tensor) and args[0].device.type == "cuda":
            raise Waits(f"Tensor.{name}")
        if func is torch.Tensor.copy_:
            return copied(*args)
        if func is torch.Tensor.__invert__:
            return torch.bitwise_not(*args)
        return INSTEAD.get(func, func)(*args, **(kwargs or {}))


@contextlib.contextmanager
def fake_gpu() -> Iterator[Callable[[Callable[[], nn.Module], torch.dtype], nn.Module]]:
    """A context in which tensors have no values and may be on DEVICE; gives a maker of modules there."""
    with FakeTensorMode(), Pretending():

        def place(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
            with torch.device("meta"), NoInitialValues():
                module = make()
            filled = {
                key: torch.empty(
                    blank.shape, dtype=dtype if blank.is_floating_point() else blank.dtype, device=DEVICE
                )
                for key, blank in module.state_dict().items()
            }
            module.load_state_dict(filled, strict=True, assign=True)
            for part in module.modules():
                if isinstance(part, Constants):
                    part.init_constants(DEVICE)
            return module.eval().requires_grad_(False)

        yield place
