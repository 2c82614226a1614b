"""Everything the service takes from its environment, read once and in one place."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.precisions import DEFAULT_PRECISION, PRECISIONS
from pipeline.strict import ConfigError

DEFAULT_MODEL = "tiny-en"
FEATURES = ("emotion_text", "denoise")  # groups of files beyond the core, each for one input
MAX_THREADS = 1024
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _features(text: str) -> tuple[str, ...]:
    listed = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(set(listed) - set(FEATURES))
    if unknown:
        raise ValueError(f"names {', '.join(unknown)}; allowed: {', '.join(FEATURES)}, or nothing")
    return listed


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"is '{text}'; allowed: seconds above 0")
    return value


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise ValueError(f"is '{text[:40]}'; allowed: {', '.join(PRECISIONS)}")
    return text


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_THREADS:
        raise ValueError(f"is '{text[:40]}'; allowed: 1 to {MAX_THREADS}, or 0")
    return int(text)


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise ValueError(f"is '{text[:40]}'; allowed: {low} to {high}")
        return int(text)

    return read


def _folder(text: str) -> Path | None:
    return Path(text) if text else None


def _level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"is '{text}'; allowed: {', '.join(LOG_LEVELS)}")
    return text.upper()


def variable(
    name: str, default: str, read: Callable[[str], Any], help: str, may_be_empty: bool = False
) -> Any:
    """A setting: its variable, the default as one would write it there, its reader and what it does."""
    told = {"variable": name, "default": default, "read": read, "help": help, "may_be_empty": may_be_empty}
    return dataclasses.field(metadata=told)


@dataclass(frozen=True)
class FromEnvironment:
    """A frozen dataclass whose fields are each a `variable`."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Self:
        """The settings of `environment`; those in `given` that are not None take precedence.

        Raises ConfigError naming the variable and what it may be."""
        values = {name: value for name, value in given.items() if value is not None}
        for field in dataclasses.fields(cls):
            if field.name in values:
                continue
            told = field.metadata
            text = environment.get(told["variable"])
            if text is None or not (text.strip() or told["may_be_empty"]):
                text = told["default"]
            try:
                values[field.name] = told["read"](text.strip())
            except ValueError as e:
                raise ConfigError(f"{told['variable']} {e}") from e
        return cls(**values)


@dataclass(frozen=True)
class Settings(FromEnvironment):
    """How the service runs. A variable that is empty is as if it were not set, but for INDEXTTS_FEATURES."""

    model: str = variable(
        "INDEXTTS_MODEL",
        DEFAULT_MODEL,
        str,
        "The model served: a name in `configs/` or a directory in the published layout.",
    )
    features: tuple[str, ...] = variable(
        "INDEXTTS_FEATURES",
        ",".join(FEATURES),
        _features,
        "Groups of weights beyond the core to fetch and load; empty: none of them.",
        may_be_empty=True,
    )
    time_limit: float = variable(
        "INDEXTTS_TIME_LIMIT", "600", seconds, "Seconds a request may take, from reading its reference on."
    )
    precision: str = variable(
        "INDEXTTS_PRECISION",
        DEFAULT_PRECISION,
        _precision,
        f"How numbers are kept and multiplied: {', '.join(PRECISIONS)} (docs/speed.md).",
    )
    threads: int = variable(
        "INDEXTTS_THREADS",
        "0",
        _threads,
        "Threads to compute on; 0: as many as there are cores and quota for.",
    )
    segment_batch: int = variable(
        "INDEXTTS_SEGMENT_BATCH",
        "8",
        whole(1, 256),
        "Segments, of one text or of several requests, spoken together.",
    )
    cache_mb: int = variable(
        "INDEXTTS_CACHE_MB",
        "0",
        whole(0, 2**20),
        "Megabytes for the caches of the segments being decoded; 0: half of what is free at the start.",
    )
    max_waiting: int = variable(
        "INDEXTTS_MAX_WAITING", "64", whole(1, 100_000), "Requests that may wait for their turn."
    )
    log_level: str = variable(
        "INDEXTTS_LOG_LEVEL", "INFO", _level, f"Least level of the log: {', '.join(LOG_LEVELS)}."
    )
    kept: Path | None = variable(
        "INDEXTTS_KEPT",
        "",
        _folder,
        "Folder where a model of deterministic weights stays for the next process; empty: each makes it anew.",
    )
