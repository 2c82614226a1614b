"""Adapters that requests bring: each content read, checked and put beside the model once."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapter import adapted
from pipeline.adapter_file import read_adapter
from pipeline.model import Model
from service.cache import ContentCache

logger = logging.getLogger(__name__)

CACHE_BYTES = 512 * 2**20  # a LoRA adapter of the published size has 30 MB


@dataclass(frozen=True)
class AdaptedModel:
    """A model with an adapter; nbytes: of the adapter alone, all else is the base model's."""

    model: Model
    nbytes: int


class Adapters:
    """The adapters of one model; the last ones used are kept, up to CACHE_BYTES."""

    def __init__(self, model: Model, capacity: int = CACHE_BYTES):
        self.model = model
        self.cache = ContentCache(capacity)

    def apply(self, path: Path | None) -> Model:
        """The model with the adapter in a file; the model itself for None. Raises ValueError saying what is wrong
        with the file."""
        if path is None:
            return self.model

        def make() -> AdaptedModel:
            adapter = read_adapter(path, self.model)
            logger.info(
                "adapter %s (%s, %.1f MB)", adapter.sha256[:12], adapter.method, adapter.nbytes() / 1e6
            )
            return AdaptedModel(adapted(self.model, adapter), adapter.nbytes())

        return self.cache.get(hash_file(path), make).model


def hash_file(path: Path) -> str:
    """sha256 of a file's content. Raises ValueError for one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise ValueError(f"the adapter cannot be read: {e.strerror}") from e
