"""A small model's manifest, its files, and a server that has them."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import pytest
import yaml

from tests.weights.server import Server

# Quick to give up and small in its parts, so that faults and several parts need few bytes and little time.
TRANSFER = {
    "connections": 4,
    "files_at_once": 2,
    "chunk_bytes": 16384,
    "first_bytes": 4096,
    "part_bytes_min": 65536,
    "part_bytes_max": 131072,
    "probe_seconds": 0.8,
    "connect_seconds": 2.0,
    "stall_seconds": 0.6,
    "minimum_rate": 1000,
    "pget_minimum_rate": 100000,
    "attempts": 4,
    "backoff_seconds": 0.02,
    "backoff_limit_seconds": 0.1,
    "longest_wait_seconds": 5.0,
    "progress_seconds": 0.2,
    "spare_bytes": 1048576,
}
NOBODY = {"probe_seconds": 0.1}  # where nobody is to be reached, who is waited for in vain
BIG = "model.bin"
SMALL = "config.yaml"


@functools.cache
def content(size: int, seed: int = 0) -> bytes:
    """Bytes that look like nothing and are the same every time; they begin like a PyTorch pickle."""
    blocks = (hashlib.sha256(f"{seed}:{index}".encode()).digest() for index in range(size // 32 + 1))
    return (b"\x80" + b"".join(blocks))[:size]


@pytest.fixture
def files() -> dict[str, bytes]:
    return {BIG: content(1_000_003), SMALL: b"version: 2.0\n"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test's own server can be reached, with no setting or token of the person who runs it."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "INDEXTTS_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port


@pytest.fixture
def server(files: dict[str, bytes]):
    with Server() as server:
        server.hub_files.update(files)
        server.bucket_files.update(files)
        yield server


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    return server


@pytest.fixture
def mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("INDEXTTS_WEIGHTS_URL", server.mirror_url)
    return server


class Project:
    """Where a test's manifest, lock and weights directory are."""

    def __init__(self, root: Path):
        self.manifest, self.lock, self.directory = (
            root / "weights.yaml",
            root / "weights.lock.json",
            root / "model",
        )
        self.files([SMALL, BIG])

    def files(self, listed: list, **transfer) -> None:
        block = {"repository": "org/model", "revision": "main", "group": "core", "into": "", "files": listed}
        self.blocks([block], **transfer)

    def blocks(self, blocks: list, **transfer) -> None:
        self.manifest.write_text(
            yaml.safe_dump({"transfer": {**TRANSFER, **transfer}, "models": {"toy": blocks}})
        )

    @property
    def arguments(self) -> dict:
        return {"model": "toy", "directory": self.directory, "manifest": self.manifest, "lock": self.lock}

    @property
    def options(self) -> list[str]:
        return [
            "--model",
            "toy",
            "--dir",
            str(self.directory),
            "--manifest",
            str(self.manifest),
            "--lock",
            str(self.lock),
        ]

    def pin(self, files: dict[str, bytes], **transfer) -> None:
        """Put size and sha256 of `files` into the manifest."""
        self.files(
            [
                {"file": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            ],
            **transfer,
        )

    def present(self) -> list[str]:
        """Every file in the weights directory but the bookkeeping, temporary ones included."""
        if not self.directory.exists():
            return []
        return sorted(
            str(path.relative_to(self.directory))
            for path in self.directory.rglob("*")
            if path.is_file() and path.name not in (".lock", ".verified.json")
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
