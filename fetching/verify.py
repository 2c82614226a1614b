"""Is this the right file? Hashes, and what a wrong file looks like."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 512
HASH_CHUNK_BYTES = 4 << 20
PICKLE_SUFFIXES = (".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Expected:
    """What a file must be; None where nobody said. `git_sha1` is git's blob hash, which is what a hub
    announces for files outside its large-file storage. `trust`: who said it."""

    size: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None
    trust: str = "its form only"

    @property
    def hashed(self) -> bool:
        return bool(self.sha256 or self.git_sha1)

    def __str__(self) -> str:
        digest = (
            f"sha256 {self.sha256}" if self.sha256 else f"git sha1 {self.git_sha1}" if self.git_sha1 else ""
        )
        size = "" if self.size is None else f"{self.size} bytes"
        return ", ".join(part for part in (size, digest) if part) or "a file of its kind"


@dataclass(frozen=True)
class Received:
    """What a file is."""

    size: int
    sha256: str
    git_sha1: str | None = None

    def __str__(self) -> str:
        return f"{self.size} bytes, sha256 {self.sha256}"

    def matches(self, expected: Expected) -> bool:
        return (
            expected.size in (None, self.size)
            and expected.sha256 in (None, self.sha256)
            and (expected.git_sha1 is None or expected.git_sha1 == self.git_sha1)
        )


class Digest:
    """sha256, and git's blob hash where that is what must match (it begins with the size)."""

    def __init__(self, expected: Expected, size: int | None):
        self.sha256 = hashlib.sha256()
        self.git = hashlib.sha1(b"blob %d\0" % size) if expected.git_sha1 and size is not None else None
        self.size = 0

    def update(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        self.sha256.update(chunk)
        if self.git:
            self.git.update(chunk)

    def received(self) -> Received:
        return Received(self.size, self.sha256.hexdigest(), self.git.hexdigest() if self.git else None)


def hash_file(path: Path, expected: Expected = Expected()) -> Received:
    digest = Digest(expected, path.stat().st_size)
    buffer = memoryview(bytearray(HASH_CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.received()


def impostor(head: bytes) -> str | None:
    """What the first bytes of a file show it to be, when that is no model file."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer instead of the file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page instead of the file"
    if start.startswith(b"<?xml"):
        return "an XML message instead of the file"
    return None


def defect(path: Path, name: str) -> str | None:
    """What is visibly wrong with the file at `path`, which is to be called `name`: the check that is left
    when nobody announced a hash. Content that is damaged within keeps its form and is not seen."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if size == 0:
        return "an empty file"
    if wrong := impostor(head):
        return wrong
    suffix = Path(name).suffix
    if suffix in PICKLE_SUFFIXES:
        if head.startswith(b"PK"):
            return None if zipfile.is_zipfile(path) else "a truncated PyTorch file"
        return None if head.startswith(b"\x80") else "not a PyTorch file"
    if suffix == ".safetensors":
        return safetensors_defect(path, size)
    if suffix == ".json":
        try:
            json.loads(path.read_bytes())
        except ValueError as e:
            return f"not JSON ({e})"
    return None


def safetensors_defect(path: Path, size: int) -> str | None:
    """A safetensors file announces its length: 8 bytes, a JSON header, and the data it describes."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            return "not a whole safetensors file"
        try:
            header = json.loads(file.read(length))
            end = max(
                (entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"),
                default=0,
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "not a safetensors file"
    if 8 + length + end != size:
        return f"a safetensors file of {size} bytes that announces {8 + length + end}"
    return None
