"""A model's weights directory: which files belong in it, and which of them are known to be right.

What was once hashed is noted in `.verified.json` with its size and mtime, so that a warm start looks at
file times instead of reading gigabytes.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fetching.files import READ_ONLY, temporaries, write_json
from fetching.manifest import (
    GROUPS,
    LOCK,
    MANIFEST,
    ROOT,
    Entry,
    Manifest,
    apply_lock,
    load_manifest,
    named_entry,
    read_lock,
)
from fetching.verify import Received, hash_file

logger = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "INDEXTTS_WEIGHTS_DIR"
RECORDS = ".verified.json"
VERIFIED, UNVERIFIED, MISSING, ABSENT, CONVERTED = (
    "verified",
    "unverified",
    "missing",
    "not published",
    "converted",
)
COMPLETE = (VERIFIED, ABSENT, CONVERTED)


@dataclass(frozen=True)
class Record:
    """A file as it was when it was last hashed."""

    size: int
    mtime_ns: int
    sha256: str
    trust: str


@dataclass(frozen=True)
class Conversion:
    """A safetensors file written from a pickle, and from which one."""

    size: int
    mtime_ns: int
    source: str
    source_sha256: str
    dtype: str


class Store:
    """The weights directory of `model`; its default is weights/MODEL, or INDEXTTS_WEIGHTS_DIR."""

    def __init__(
        self, model: str, directory: Path | str | None = None, manifest: Path = MANIFEST, lock: Path = LOCK
    ):
        self.model = model
        self.manifest: Manifest = load_manifest(manifest)
        self.manifest.entries(model, GROUPS)
        self.locked: dict = read_lock(lock).get(model, {})
        self.lock_trust = "the lock"
        chosen = directory or os.environ.get(DIRECTORY_VARIABLE) or ROOT / "weights" / model
        self.directory = Path(chosen).expanduser().absolute()
        self.guard = threading.Lock()
        self.reload()

    # --- files ----------------------------------------------------------------------------------

    def entries(self, groups: Iterable[str]) -> list[Entry]:
        """The files of `groups` as pinned by the lock, with those that a verified file names."""
        entries = []
        for entry in self.manifest.entries(self.model, groups):
            entry = self.pinned(entry)
            entries.append(entry)
            if entry.names_checkpoint and self.state(entry) == VERIFIED:
                named = named_entry(entry, self.path(entry).read_text(encoding="utf-8", errors="replace"))
                entries.append(self.pinned(named))
        return entries

    def pinned(self, entry: Entry) -> Entry:
        return apply_lock(entry, self.locked, self.lock_trust)

    def path(self, entry: Entry) -> Path:
        return self.directory / entry.path

    def state(self, entry: Entry) -> str:
        """One of VERIFIED, UNVERIFIED, MISSING, ABSENT, CONVERTED; without reading the file."""
        record = self.files.get(entry.path)
        if not self.path(entry).is_file():
            if any(
                c.source == entry.path and entry.sha256 in (None, c.source_sha256) and self.is_fresh(path, c)
                for path, c in self.converted.items()
            ):
                return CONVERTED
            return ABSENT if entry.optional and entry.path in self.absent else MISSING
        expected = record and entry.sha256 in (None, record.sha256) and self.is_fresh(entry.path, record)
        return VERIFIED if expected else UNVERIFIED

    def is_fresh(self, path: str, record: Record | Conversion) -> bool:
        """Whether the file at `path` is still the one that was recorded, by size and mtime."""
        try:
            stat = (self.directory / path).stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (record.size, record.mtime_ns)

    def set_aside(self, entry: Entry) -> Path:
        """Take the final name from a file that is wrong; it is kept, in case it is somebody's own."""
        aside = self.path(entry).with_name(self.path(entry).name + ".refused")
        os.replace(self.path(entry), aside)
        return aside

    # --- records --------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read what is recorded; a record file that cannot be read counts as none."""
        try:
            content = json.loads((self.directory / RECORDS).read_text(encoding="utf-8"))
            self.files = {path: Record(**record) for path, record in content["files"].items()}
            self.converted = {path: Conversion(**record) for path, record in content["converted"].items()}
            self.absent = dict(content["absent"])
        except FileNotFoundError:
            self.files, self.converted, self.absent = {}, {}, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            logger.warning(
                "%s cannot be read (%s): everything is verified again", self.directory / RECORDS, e
            )
            self.files, self.converted, self.absent = {}, {}, {}

    def record(self, entry: Entry, received: Received, trust: str) -> None:
        stat = self.path(entry).stat()
        with self.guard:
            self.files[entry.path] = Record(stat.st_size, stat.st_mtime_ns, received.sha256, trust)
            self.absent.pop(entry.path, None)
            self._save()

    def record_conversion(self, path: str, source: str, source_sha256: str, dtype: str) -> None:
        stat = (self.directory / path).stat()
        with self.guard:
            self.converted[path] = Conversion(stat.st_size, stat.st_mtime_ns, source, source_sha256, dtype)
            self._save()

    def record_absent(self, entry: Entry, reason: str) -> None:
        with self.guard:
            self.absent[entry.path] = reason
            self._save()

    def forget(self, path: str) -> None:
        with self.guard:
            if self.files.pop(path, None):
                self._save()

    def _save(self) -> None:
        try:
            for leftover in temporaries(self.directory / RECORDS):
                leftover.unlink()
            write_json(
                self.directory / RECORDS,
                {
                    "files": {path: asdict(record) for path, record in self.files.items()},
                    "converted": {path: asdict(record) for path, record in self.converted.items()},
                    "absent": self.absent,
                },
            )
        except OSError as e:
            if e.errno not in READ_ONLY:
                raise
            logger.warning(
                "%s cannot be written (%s): the next start verifies again",
                self.directory / RECORDS,
                e.strerror,
            )

    # --- reports --------------------------------------------------------------------------------

    def verify(self, groups: Iterable[str]) -> dict[str, str]:
        """Hash every file that is there: path -> what is wrong with it. Records what is right."""
        wrong = {}
        for entry in self.entries(groups):
            if self.state(entry) in (ABSENT, CONVERTED):
                continue
            if not self.path(entry).is_file():
                if not entry.optional:
                    wrong[entry.path] = "missing"
                continue
            received = hash_file(self.path(entry))
            known = self.files.get(entry.path)
            sha256, trust = (
                (entry.sha256, entry.trust)
                if entry.sha256
                else (known.sha256, known.trust)
                if known
                else (None, "")
            )
            if sha256 is None:
                wrong[entry.path] = f"{received}; nothing to compare it with: run `python weights.py fetch`"
            elif received.sha256 != sha256:
                wrong[entry.path] = f"{received}; expected sha256 {sha256} ({trust})"
                self.forget(entry.path)
            else:
                self.record(entry, received, trust)
        return wrong
