"""Frozen dataclasses from YAML, strictly: an unknown, missing or mistyped key is an error that names it."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path

import yaml


class ConfigError(ValueError):
    """A configuration file with an unknown, missing or mistyped key."""


def build(cls, values, where: str):
    """A `cls` dataclass from a mapping; a key that is unknown or missing is an error that names it."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping, got {type(values).__name__}")
    fields = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(fields))
    missing = sorted(set(fields) - set(values))
    if unknown or missing:
        raise ConfigError(
            f"{where}: "
            + "; ".join(
                f"{what} {', '.join(keys)}"
                for what, keys in (("unknown key", unknown), ("missing key", missing))
                if keys
            )
        )
    return cls(**{key: _convert(fields[key], value, f"{where}.{key}") for key, value in values.items()})


def _convert(kind, value, where: str):
    if dataclasses.is_dataclass(kind):
        return build(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        inner = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(inner) != len(value):
            raise ConfigError(f"{where}: expected {len(inner)} values, got {len(value)}")
        return tuple(
            _convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(inner, value, strict=True))
        )
    if origin is types.UnionType:  # only `KIND | None` is used
        return None if value is None else _convert(arguments[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def to_dict(config) -> dict:
    """Plain nested dicts and lists, as `build` takes them and YAML writes them."""

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(config))


def read_yaml(path: Path) -> dict:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"cannot read {path.name}: {' '.join(str(e).split())}") from e
