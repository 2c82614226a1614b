"""Which files a model consists of: `configs/weights.yaml`, sharpened by `weights.lock.json`.

The manifest says where every file is published and where it goes. The lock, written by
`python weights.py lock`, pins each of them to a commit, a size and a sha256; it is authoritative.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.strict import ConfigError, build, read_yaml

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "configs" / "weights.yaml"
LOCK = ROOT / "weights.lock.json"
GROUPS = ("core", "emotion_text", "denoise")


class WeightsError(ValueError):
    """What keeps a weights directory from being complete, in one line that says what to do."""


@dataclass(frozen=True)
class Transfer:
    """How files are moved. Sizes in bytes, times in seconds; the values are in the manifest."""

    connections: int  # parallel requests, over all files
    files_at_once: int
    chunk_bytes: int  # most that is read, written or hashed in one go
    first_bytes: int  # the first request of a file: shows its length, ranges, and what it is
    part_bytes_min: int
    part_bytes_max: int
    probe_seconds: float  # DNS and connection of a source that may be out of reach
    connect_seconds: float
    stall_seconds: float  # a connection slower than `minimum_rate` for so long is given up
    minimum_rate: int  # bytes per second
    pget_minimum_rate: int  # over a whole file; below it our own downloader, which resumes, takes over
    attempts: int  # of one request
    backoff_seconds: float  # before the second attempt; doubles
    backoff_limit_seconds: float
    longest_wait_seconds: float  # a Retry-After beyond this is an error
    progress_seconds: float  # between progress lines in a log
    spare_bytes: int  # disk space left free


@dataclass(frozen=True)
class Entry:
    """One file. `path` is relative to the weights directory, `file` to the repository."""

    path: str
    repository: str
    revision: str
    file: str
    group: str
    optional: bool = False  # not published by everyone: its absence is no error
    names_checkpoint: bool = False  # a text file that holds the name of the file beside it to use
    convert: str | None = None  # how its pickle (or that of the file it names) is read
    keep_float32: bool = False  # stays float32 whatever the rest is converted to
    size: int | None = None
    sha256: str | None = None
    trust: str = ""  # who said size and sha256

    @property
    def rule(self) -> str | None:
        """How this file is converted; None for one that is used as it is."""
        return None if self.names_checkpoint else self.convert


@dataclass(frozen=True)
class Manifest:
    transfer: Transfer
    models: Mapping[str, tuple[Entry, ...]]

    def entries(self, model: str, groups: Iterable[str]) -> list[Entry]:
        """The files of `groups` of `model`. Raises WeightsError for an unknown name."""
        if model not in self.models:
            raise WeightsError(f"no weights are known for model '{model}'; known: {', '.join(self.models)}")
        groups = list(groups)
        for group in groups:
            if group not in GROUPS:
                raise WeightsError(f"unknown group '{group}'; allowed: {', '.join(GROUPS)}")
        return [entry for entry in self.models[model] if entry.group in groups]


FILE_KEYS = {"file", "path", "optional", "names_checkpoint", "convert", "keep_float32", "size", "sha256"}
REPOSITORY_KEYS = {"repository", "revision", "group", "into", "files"}


def load_manifest(path: Path = MANIFEST) -> Manifest:
    """The manifest at `path`. Raises WeightsError naming an unknown, missing or mistyped key."""
    try:
        content = read_yaml(path)
        check_keys(content, {"transfer", "models"}, path.name)
        models = {
            name: tuple(entry for block in blocks for entry in read_block(block, f"{path.name}: {name}"))
            for name, blocks in content["models"].items()
        }
        manifest = Manifest(build(Transfer, content["transfer"], f"{path.name}: transfer"), models)
    except ConfigError as e:
        raise WeightsError(str(e)) from e
    for name, entries in models.items():
        paths = [entry.path for entry in entries]
        if len(set(paths)) < len(paths):
            raise WeightsError(f"{path.name}: {name}: {max(paths, key=paths.count)} is listed twice")
    return manifest


def read_block(block: dict, where: str) -> list[Entry]:
    """The entries of one repository: its defaults, and per file a name or a mapping."""
    check_keys(block, REPOSITORY_KEYS, where)
    entries = []
    for item in block["files"]:
        item = {"file": item} if isinstance(item, str) else item
        where_file = f"{where}: {block['repository']}: {item.get('file')}"
        check_keys(item, FILE_KEYS, where_file, required={"file"})
        path = item.get("path") or str(PurePosixPath(block["into"]) / item["file"])
        values = {
            "trust": "the manifest" if "sha256" in item else "",
            "optional": False,
            "names_checkpoint": False,
            "convert": None,
            "keep_float32": False,
            "size": None,
            "sha256": None,
            **item,
            **{key: block[key] for key in ("repository", "revision", "group")},
            "path": path,
        }
        entry = build(Entry, values, where_file)
        check_path(entry.path, where_file)
        if entry.group not in GROUPS:
            raise ConfigError(f"{where_file}: group '{entry.group}'; allowed: {', '.join(GROUPS)}")
        entries.append(entry)
    return entries


def check_keys(values: object, allowed: set[str], where: str, required: set[str] | None = None) -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping, got {values!r}")
    unknown, missing = (
        sorted(set(values) - allowed),
        sorted((allowed if required is None else required) - set(values)),
    )
    if unknown or missing:
        raise ConfigError(
            f"{where}: "
            + "; ".join(
                f"{what} {', '.join(keys)}"
                for what, keys in (("unknown key", unknown), ("missing key", missing))
                if keys
            )
        )


def check_path(path: str, where: str) -> None:
    """Refuse a path that could leave the weights directory."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or any(part in ("..", ".") for part in parts):
        raise ConfigError(f"{where}: '{path}' is not a plain relative path")


def named_entry(pointer: Entry, text: str) -> Entry:
    """The entry of the file that `pointer`'s content names: beside it, in the same repository."""
    lines = text.split()
    name = lines[0] if len(lines) == 1 else ""
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise WeightsError(f"{pointer.path}: expected the name of one file beside it, got {text[:80]!r}")
    return replace(
        pointer,
        path=str(PurePosixPath(pointer.path).parent / name),
        file=str(PurePosixPath(pointer.file).parent / name),
        names_checkpoint=False,
        size=None,
        sha256=None,
        trust="",
    )


# --- the lock ---------------------------------------------------------------------------------


def read_lock(path: Path = LOCK) -> dict:
    """The lock's models, {} when there is no lock. Raises WeightsError when it is unreadable."""
    try:
        return parse_lock(path.read_bytes(), path.name)
    except FileNotFoundError:
        return {}


def parse_lock(content: bytes, where: str) -> dict:
    try:
        models = json.loads(content)["models"]
        for model in models.values():
            for locked in model["files"].values():
                build(Locked, locked, where)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise WeightsError(f"{where} is not a lock written by `python weights.py lock`: {e}") from e
    return models


@dataclass(frozen=True)
class Locked:
    """What the lock holds of one file."""

    repository: str
    revision: str
    file: str
    size: int
    sha256: str


def apply_lock(entry: Entry, locked_model: dict, trust: str) -> Entry:
    """`entry` pinned to what the lock says of it, unchanged when the lock does not hold it."""
    values = locked_model.get("files", {}).get(entry.path)
    if values is None:
        return entry
    locked = Locked(**values)
    if (locked.repository, locked.file) != (entry.repository, entry.file):
        raise WeightsError(
            f"{entry.path} is locked from {locked.repository}/{locked.file} but the manifest has "
            f"{entry.repository}/{entry.file}: run `python weights.py lock`"
        )
    return replace(entry, revision=locked.revision, size=locked.size, sha256=locked.sha256, trust=trust)
