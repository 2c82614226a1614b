"""Functions of static buffers, recorded as CUDA graphs and played again; elsewhere they are called.

A decode step or a step of the flow is hundreds of small kernels, which a host launches more slowly than a GPU
runs them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

logger = logging.getLogger(__name__)

MAX_GRAPHS = 96  # kept; each holds its launch parameters, and all share their scratch memory


class Graphs:
    """Recorded functions by key, the one used longest ago dropped first.

    The function of a key must always be the same function of the same tensors, keep its results in them, and neither
    wait for the device nor decide anything by a value on it. Its first call runs it as it is, which also prepares what
    a recording must not (libraries, compiled kernels); its second records it."""

    def __init__(self, device: torch.device, enabled: bool = True):
        self.device = device
        self.enabled = enabled and device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if self.enabled else None
        self.recorded: OrderedDict[Hashable, torch.cuda.CUDAGraph | None] = OrderedDict()

    def run(self, key: Hashable, function: Callable[[], None]) -> None:
        """Call `function`, or play what was recorded of it."""
        if not self.enabled:
            function()
            return
        if key not in self.recorded:
            self.recorded[key] = None
            while len(self.recorded) > MAX_GRAPHS:
                self.recorded.popitem(last=False)
            function()
            return
        self.recorded.move_to_end(key)
        graph = self.recorded[key]
        if graph is None:
            graph = self.recorded[key] = self._record(function)
        graph.replay()

    def _record(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # other threads may use the device meanwhile
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            function()
        return graph

    def forget(self, key: Hashable) -> None:
        """Forget what was recorded under `key`."""
        self.recorded.pop(key, None)

    def clear(self) -> None:
        """Forget every recording and give their memory back."""
        self.recorded.clear()
        if self.enabled:
            self.pool = torch.cuda.graph_pool_handle()


def bucket(length: int, sizes: tuple[int, ...]) -> int:
    """The first of `sizes`, which rise, that is not below `length`. Raises ValueError when all are."""
    for size in sizes:
        if size >= length:
            return size
    raise ValueError(f"{length} is above the largest size, {sizes[-1]}")


class FlagReader:
    """Values of a small device tensor as they were some calls ago, read without making the device wait.

    `put` asks for a copy; `get` gives the newest one that has arrived, or waits for the oldest when more than `behind`
    are on their way, so that the host cannot run away from the device."""

    def __init__(self, device: torch.device, behind: int = 1):
        self.device, self.behind = device, behind
        self.waiting: list[tuple[torch.cuda.Event | None, torch.Tensor, int]] = []

    def put(self, values: torch.Tensor, tag: int) -> None:
        if self.device.type == "cuda":
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self.waiting.append((event, host, tag))
        else:
            self.waiting.append((None, values.clone(), tag))

    def get(self) -> tuple[torch.Tensor, int] | None:
        """(values, tag) of the newest copy that is here; None where none is, nor has to be waited for."""
        newest = None
        while self.waiting:
            event, host, tag = self.waiting[0]
            if event is not None and not event.query():
                if len(self.waiting) <= self.behind:
                    break
                event.synchronize()
            newest = host, tag
            self.waiting.pop(0)
        return newest
