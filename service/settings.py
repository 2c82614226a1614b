"""Everything the service takes from its environment, read once and in one place."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.strict import ConfigError

DEFAULT_MODEL = "tiny-en"
FEATURES = ("emotion_text", "denoise")  # groups of files beyond the core, each for one input
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _features(text: str) -> tuple[str, ...]:
    listed = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(set(listed) - set(FEATURES))
    if unknown:
        raise ValueError(f"names {', '.join(unknown)}; allowed: {', '.join(FEATURES)}, or nothing")
    return listed


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"is '{text}'; allowed: seconds above 0")
    return seconds


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
class Settings:
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
        "INDEXTTS_TIME_LIMIT", "600", _seconds, "Seconds a request may take, from reading its reference on."
    )
    log_level: str = variable(
        "INDEXTTS_LOG_LEVEL", "INFO", _level, f"Least level of the log: {', '.join(LOG_LEVELS)}."
    )

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Settings:
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
