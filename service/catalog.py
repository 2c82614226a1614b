"""Which model is served: a name in configs/ or a directory in the published layout."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import weights
from pipeline.config import ModelConfig, config_names, load_config
from pipeline.deterministic import kept_model, write_model
from pipeline.published import published_config
from pipeline.strict import ConfigError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Source:
    """Where a model comes from: its configuration and the directory of its files."""

    config: ModelConfig
    directory: Path


def embedded_directory(name: str) -> Path:
    """Files of a model that ship with this repository."""
    return ROOT / "models" / name


@contextmanager
def locate(model: str, features: Sequence[str] = (), kept: Path | None = None) -> Iterator[Source]:
    """The source of `model` for as long as it is being loaded; a model that is not here is fetched, with the groups
    of files of `features`. A model of deterministic weights is in the folder `kept`, or written for this once.

    Raises ConfigError when `model` is neither a known name nor a directory, WeightsError when its files
    cannot be had."""
    if model in config_names():
        config = load_config(model)
        if config.weights == "deterministic":
            vocabulary = embedded_directory(model) / config.vocabulary if config.vocabulary else None
            if kept is not None:
                yield Source(config, kept_model(kept, config, vocabulary))
                return
            with tempfile.TemporaryDirectory(prefix="indextts-model-") as folder:
                yield Source(config, write_model(Path(folder), config, vocabulary))
        else:
            embedded = embedded_directory(model)
            yield Source(
                config, embedded if embedded.is_dir() else weights.ensure(model, ["core", *features])
            )
    elif Path(model).is_dir():
        yield Source(published_config(Path(model)), Path(model))
    else:
        raise ConfigError(
            f"INDEXTTS_MODEL is '{model}'; allowed: {', '.join(config_names())}, or a model directory"
        )
