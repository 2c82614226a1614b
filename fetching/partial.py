"""A file that is not all there yet: its parts, its temporary name, and the state that outlives a process."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fetching.files import temporaries, temporary_name
from fetching.manifest import Transfer


@dataclass
class Part:
    """Bytes [start, end) of a file, of which those before `done` are there. `end` is None while nobody
    knows the length."""

    start: int
    end: int | None
    done: int

    @property
    def complete(self) -> bool:
        return self.done == self.end


def plan_parts(start: int, end: int, transfer: Transfer) -> list[Part]:
    """[start, end) in parts that get smaller towards the end: the last ones arrive together, and what
    arrives together is hashed after the transfer instead of during it."""
    parts = []
    while start < end:
        share = (end - start) // (2 * transfer.connections)
        stop = min(end, start + max(transfer.part_bytes_min, min(transfer.part_bytes_max, share)))
        parts.append(Part(start, stop, start))
        start = stop
    return parts


class Partial:
    """The temporary file of `target`, and which bytes of it are there.

    `identity` tells whether a leftover is of the same file: the expected hash, else where it is from.
    The name is unique when it is new; a process that holds the directory's lock takes over the leftover
    of one that died."""

    def __init__(self, target: Path, identity: str):
        self.identity = identity
        self.total: int | None = None
        self.etag: str | None = None
        self.parts: list[Part] = []
        self.path = self._leftover(target) or temporary_name(target)

    @property
    def have(self) -> int:
        return sum(part.done - part.start for part in self.parts)

    @property
    def leading(self) -> int:
        """How many bytes are there from the start on without a gap."""
        position = 0
        for part in self.parts:
            if part.start > position:
                break
            position = part.done
            if not part.complete:
                break
        return position

    def plan(self, total: int, transfer: Transfer) -> None:
        """Fill the gaps between the bytes that are there with parts to fetch."""
        planned, position = [], 0
        for part in sorted(self.parts, key=lambda part: part.start):
            planned += plan_parts(position, part.start, transfer)
            if part.done > part.start:
                planned.append(Part(part.start, part.done, part.done))
            position = part.done
        self.total, self.parts = total, planned + plan_parts(position, total, transfer)

    def save(self) -> None:
        done: list[list[int]] = []
        for part in self.parts:
            if done and done[-1][1] == part.start:
                done[-1][1] = part.done
            elif part.done > part.start:
                done.append([part.start, part.done])
        content = {"identity": self.identity, "total": self.total, "etag": self.etag, "done": done}
        draft = self.path.with_suffix(".draft")
        draft.write_text(json.dumps(content), encoding="utf-8")
        os.replace(draft, self.path.with_suffix(".state"))

    def discard(self) -> None:
        delete(self.path)
        self.total, self.etag, self.parts = None, None, []

    def _leftover(self, target: Path) -> Path | None:
        kept = None
        for state in target.parent.glob(f".{target.name}.*.state"):
            if not state.with_suffix(".part").exists():
                delete(state.with_suffix(".part"))
        for path in temporaries(target):
            if kept is None and self._load(path):
                kept = path
            else:
                delete(path)
        return kept

    def _load(self, path: Path) -> bool:
        """Take over the state of the leftover at `path`; False when it is of another file or unusable."""
        try:
            state = json.loads(path.with_suffix(".state").read_text(encoding="utf-8"))
            parts = [Part(start, end, end) for start, end in state["done"]]
            if state["identity"] != self.identity or path.stat().st_size < max(
                (end for _, end in state["done"]), default=0
            ):
                return False
            self.total, self.etag, self.parts = state["total"], state["etag"], parts
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return True


def delete(path: Path) -> None:
    """Remove a temporary file and what belongs to it."""
    for part in (path, path.with_suffix(".state"), path.with_suffix(".draft")):
        part.unlink(missing_ok=True)
