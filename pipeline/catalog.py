"""Which model is served: a name in configs/ or a directory in the published layout."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ConfigError, ModelConfig, config_names, load_config
from pipeline.deterministic import write_model
from pipeline.published import published_config

ROOT = Path(__file__).resolve().parent.parent
MODEL_VARIABLE = "INDEXTTS_MODEL"
WEIGHTS_VARIABLE = "INDEXTTS_WEIGHTS_DIR"
DEFAULT_MODEL = "mini"


@dataclass(frozen=True)
class Source:
    """Where a model comes from: its configuration and the directory of its files."""
    config: ModelConfig
    directory: Path


def embedded_directory(name: str) -> Path:
    """Files of a model that ship with this repository."""
    return ROOT / "models" / name


def weights_directory(name: str) -> Path:
    """Where the files of a fetched model lie."""
    return Path(os.environ.get(WEIGHTS_VARIABLE) or ROOT / "weights" / name)


@contextmanager
def locate(model: str) -> Iterator[Source]:
    """The source of `model` for as long as it is being loaded.

    Raises ConfigError when `model` is neither a known name nor a directory."""
    if model in config_names():
        config = load_config(model)
        if config.weights == "deterministic":
            with tempfile.TemporaryDirectory(prefix="indextts-model-") as folder:
                yield Source(config, write_model(Path(folder), config, embedded_directory(model) / "bpe.model"))
        else:
            embedded = embedded_directory(model)
            yield Source(config, embedded if embedded.is_dir() else weights_directory(model))
    elif Path(model).is_dir():
        yield Source(published_config(Path(model)), Path(model))
    else:
        raise ConfigError(f"{MODEL_VARIABLE} is '{model}'; allowed: {', '.join(config_names())}, or a model directory")
