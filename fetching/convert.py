"""Published pickles to safetensors, in a process of its own; afterwards nothing unpickles."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fetching.files import install, temporaries, temporary_name
from fetching.manifest import ROOT, Entry, WeightsError
from fetching.progress import in_bytes
from fetching.store import CONVERTED, VERIFIED, Store
from pipeline.checkpoints import Section
from pipeline.child_environment import child_environment

logger = logging.getLogger(__name__)

DTYPES = ("float32", "float16")


def copy_path(entry: Entry) -> str:
    """Where the safetensors copy of a pickle goes, relative to the weights directory."""
    return str(Path(entry.path).with_suffix(".safetensors"))


def is_converted(store: Store, entry: Entry, dtype: str) -> bool:
    """Whether the copy of `entry` is there, unchanged, in `dtype`, and of the pickle that is expected."""
    copy = store.converted.get(copy_path(entry))
    if copy is None or not store.is_fresh(copy_path(entry), copy) or copy.dtype != dtype_of(entry, dtype):
        return False
    record = store.files.get(entry.path)
    sha256 = entry.sha256 or (record.sha256 if record else None)
    return store.state(entry) == CONVERTED or sha256 == copy.source_sha256


def dtype_of(entry: Entry, dtype: str) -> str:
    return "float32" if entry.keep_float32 else dtype


Rules = Mapping[str, Sequence[Section]]  # of a pickle: the state dicts in it


def convert(
    store: Store, groups: Iterable[str], dtype: str, rules: Rules, remove_sources: bool = False
) -> None:
    """Write the safetensors copy of every verified pickle of `groups` that has none yet.

    rules: what is in a pickle, by the manifest's name for it. `remove_sources` deletes each pickle once its
    copy is on disk. Raises WeightsError for a pickle that is refused, and for an unknown dtype."""
    if dtype not in DTYPES:
        raise WeightsError(f"dtype is '{dtype}'; allowed: {', '.join(DTYPES)}")
    pickles = [entry for entry in store.entries(groups) if entry.rule]
    pending = [entry for entry in pickles if not is_converted(store, entry, dtype)]
    unknown = sorted({entry.rule for entry in pickles if entry.rule} - set(rules))
    if unknown:
        raise WeightsError(f"the manifest converts by {', '.join(unknown)}; allowed: {', '.join(rules)}")
    for entry in pending:
        if store.state(entry) != VERIFIED:
            raise WeightsError(
                f"{entry.path} is {store.state(entry)} and cannot be converted to {dtype}: "
                f"run `python weights.py fetch --model {store.model}` first"
            )
    if pending:
        with Rewriter() as rewriter:
            for entry in pending:
                if entry.rule:
                    convert_file(store, entry, dtype_of(entry, dtype), rules[entry.rule], rewriter)
    if remove_sources:
        for entry in pickles:
            if store.path(entry).is_file():
                store.path(entry).unlink()
                logger.info("%s: removed, %s stays", entry.path, copy_path(entry))


def convert_file(
    store: Store, entry: Entry, dtype: str, sections: Sequence[Section], rewriter: Rewriter
) -> None:
    source, target = store.path(entry), store.directory / copy_path(entry)
    sha256 = store.files[entry.path].sha256
    for leftover in temporaries(target):
        leftover.unlink()
    size, free = source.stat().st_size, shutil.disk_usage(target.parent).free
    if size > free:
        raise WeightsError(
            f"not enough disk space to convert {source}: up to {in_bytes(size)} are needed, "
            f"{in_bytes(free)} are free"
        )
    temporary = temporary_name(target)
    began = time.monotonic()
    try:
        report = rewriter.run(
            {
                "source": str(source),
                "target": str(temporary),
                "dtype": dtype,
                "sections": [dataclasses.asdict(section) for section in sections],
                "metadata": {"source": entry.path, "source_sha256": sha256, "dtype": dtype},
            },
            entry,
        )
        install(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    store.record_conversion(copy_path(entry), entry.path, sha256, dtype)
    logger.info(
        "%s: %s of tensors as %s in %s, %.1f s, peak memory %s",
        entry.path,
        in_bytes(target.stat().st_size),
        dtype,
        target.name,
        time.monotonic() - began,
        in_bytes(report["peak_bytes"]),
    )
    if report["unused"]:
        logger.info("%s: entries left out: %s", entry.path, report["unused"])


class Rewriter:
    """The process that reads pickles: one for all of them, since starting torch takes seconds."""

    def __enter__(self) -> Rewriter:
        self.messages = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fetching.rewrite"],
            text=True,
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
        )
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()
        self.messages.close()

    def run(self, task: dict, entry: Entry) -> dict:
        """The report on one task. Raises WeightsError when the pickle is refused or the process died."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout, "both are pipes"
        try:
            stdin.write(json.dumps(task) + "\n")
            stdin.flush()
            report = json.loads(stdout.readline())
        except (BrokenPipeError, ValueError):
            status = self.process.wait()
            self.messages.seek(0)
            last = (self.messages.read().strip().splitlines() or ["no message"])[-1]
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise WeightsError(f"{entry.path}: conversion ended with {ended}: {last}") from None
        if "error" in report:
            raise WeightsError(f"{entry.path}: not converted: {report['error']}")
        return report
