"""Feature caches: safetensors shards with one set of arrays per clip, written once and read whole."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

CLIPS_PER_SHARD = 500
logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


class Cache:
    """Arrays per clip index in `folder/shard-NNNN.safetensors`; keys in the files are `INDEX.NAME`.

    A shard is written under another name and renamed when whole, so an interrupted run leaves whole shards only.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(self, count: int, compute: Callable[[int], Arrays]) -> None:
        """Compute and write the shards of clips 0 … count−1 that are missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, count, CLIPS_PER_SHARD):
            path = self._shard(start // CLIPS_PER_SHARD)
            if path.exists():
                continue
            stop = min(start + CLIPS_PER_SHARD, count)
            arrays = {
                f"{index}.{name}": np.ascontiguousarray(array)
                for index in range(start, stop)
                for name, array in compute(index).items()
            }
            unfinished = path.with_suffix(".part")
            save_file(arrays, unfinished)
            os.replace(unfinished, path)
            logger.info("%s: %d of %d clips", self.folder.name, stop, count)

    def load(self, names: Iterable[str] | None = None, first: int | None = None) -> dict[int, Arrays]:
        """Arrays by clip index: only those called `names`, only of the `first` clips (rounded up to whole shards)."""
        wanted = None if names is None else set(names)
        clips: dict[int, Arrays] = {}
        shards = sorted(self.folder.glob("shard-*.safetensors"))
        for path in shards if first is None else shards[: -(-first // CLIPS_PER_SHARD)]:
            for key, array in load_file(path).items():
                index, name = key.split(".", 1)
                if wanted is None or name in wanted:
                    clips.setdefault(int(index), {})[name] = array
        if not clips:
            raise ValueError(f"the feature cache {self.folder} is empty")
        return clips

    def _shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:04d}.safetensors"
