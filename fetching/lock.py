"""`python weights.py lock`: what the hub has now, written down, so that later it can be nothing else."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import asdict, replace
from pathlib import Path

from fetching.files import write_json
from fetching.manifest import GROUPS, Entry, Locked, Manifest, WeightsError, named_entry, read_lock
from fetching.retry import NotFound, Refused, retrying
from fetching.sources import Hub
from fetching.verify import Digest, Expected

logger = logging.getLogger(__name__)


def write_lock(manifest: Manifest, model: str, path: Path) -> dict:
    """Ask the hub for commit, size and sha256 of every file of `model`, and put them in the lock at `path`.

    Files of one repository and revision are locked at one commit. Returns the model's part of the lock.
    Raises WeightsError."""
    hub = Hub(manifest.transfer)
    if problem := hub.problem():
        raise WeightsError(f"cannot lock '{model}': {hub.label}: {problem}")
    asker = Asker(hub)
    for entry in manifest.entries(model, GROUPS):
        asker.lock(entry)
    models = {**read_lock(path), model: {"files": asker.files, "absent": asker.absent}}
    write_json(path, {"models": models})
    return models[model]


class Asker:
    def __init__(self, hub: Hub):
        self.hub, self.stop = hub, threading.Event()
        self.commits: dict[tuple[str, str], str] = {}
        self.files: dict[str, dict] = {}
        self.absent: list[str] = []

    def lock(self, entry: Entry) -> None:
        wanted = replace(entry, revision=self.commits.get((entry.repository, entry.revision), entry.revision))
        try:
            found, expected = retrying(lambda: self.hub.announce(wanted), self.hub.transfer, self.stop)
            self.commits.setdefault((entry.repository, entry.revision), found.revision)
            content = b""
            if expected.sha256 is None or entry.names_checkpoint:
                content = self.small_file(found, expected)
                expected = replace(expected, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        except NotFound as e:
            if not entry.optional:
                raise WeightsError(f"cannot lock {entry.path}: {e}") from e
            self.absent.append(entry.path)
            return
        except Refused as e:
            raise WeightsError(f"cannot lock {entry.path}: {e}") from e
        if expected.size is None or expected.sha256 is None:
            raise WeightsError(f"cannot lock {entry.path}: {self.hub.label} does not tell its size")
        self.files[entry.path] = asdict(
            Locked(entry.repository, found.revision, entry.file, expected.size, expected.sha256)
        )
        logger.info(
            "%s: %s at %s, %d bytes, sha256 %s",
            entry.path,
            entry.repository,
            found.revision,
            expected.size,
            expected.sha256,
        )
        if entry.names_checkpoint:
            self.lock(
                replace(
                    named_entry(entry, content.decode("utf-8", errors="replace")), revision=entry.revision
                )
            )

    def small_file(self, entry: Entry, expected: Expected) -> bytes:
        """The content of a file for which the hub announces git's hash only (it keeps such files small)."""

        def read() -> bytes:
            with self.hub.client.get(self.hub.url(entry)) as body:
                return b"".join(body.chunks())

        content = retrying(read, self.hub.transfer, self.stop)
        digest = Digest(expected, len(content))
        digest.update(content)
        if not digest.received().matches(expected):
            raise WeightsError(
                f"cannot lock {entry.path}: {self.hub.url(entry)} is announced as {expected} but came "
                f"as {digest.received()}"
            )
        return content
