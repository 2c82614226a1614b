"""Feature caches: safetensors shards with one set of arrays per clip, written once and read whole."""

import itertools
import logging
import os
from collections.abc import Callable, Container, Iterable
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

CLIPS_PER_SHARD = 500
logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


class Cache:
    """Arrays per clip index in `folder/shard-NNNN.safetensors`; keys in the files are `INDEX.NAME`.

    A shard is written under another name and renamed when whole, so an interrupted run leaves whole shards only.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(
        self, planned: Iterable[int], available: Container[int], compute: Callable[[int], Arrays]
    ) -> None:
        """Compute and write the missing shards of the `planned` clips; a shard waits until all of its clips are
        `available`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, group in itertools.groupby(sorted(planned), lambda index: index // CLIPS_PER_SHARD):
            path, indices = self._shard(number), list(group)
            if path.exists() or not all(index in available for index in indices):
                continue
            arrays = {
                f"{index}.{name}": np.ascontiguousarray(array)
                for index in indices
                for name, array in compute(index).items()
            }
            unfinished = path.with_suffix(".part")
            save_file(arrays, unfinished)
            os.replace(unfinished, path)
            logger.info("%s: clips %d to %d", self.folder.name, indices[0], indices[-1])

    def load(
        self, names: Iterable[str] | None = None, planned: Iterable[int] | None = None
    ) -> dict[int, Arrays]:
        """Arrays by clip index: only those called `names`, only those of the `planned` clips."""
        wanted = None if names is None else set(names)
        chosen = None if planned is None else set(planned)
        numbers = None if chosen is None else {index // CLIPS_PER_SHARD for index in chosen}
        clips: dict[int, Arrays] = {}
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if numbers is not None and int(path.stem.rpartition("-")[2]) not in numbers:
                continue
            with safe_open(path, "numpy") as shard:
                for key in shard.keys():  # noqa: SIM118 - it is no mapping
                    index, name = key.split(".", 1)
                    if (wanted is None or name in wanted) and (chosen is None or int(index) in chosen):
                        clips.setdefault(int(index), {})[name] = shard.get_tensor(key)
        if not clips:
            raise ValueError(f"the feature cache {self.folder} is empty")
        return clips

    def _shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:04d}.safetensors"
