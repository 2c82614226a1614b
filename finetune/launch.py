"""A training as a process of its own, or several: started, its log passed on, ended when whoever waits for it is.

A process can be ended at any moment, also in the middle of a step that takes a minute; what it wrote is whole, so that
the same request goes on from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune.options import Options

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
WORK = "INDEXTTS_TRAINING_WORK"  # folder of the trainings under way
POLL_SECONDS = 0.05
END_SECONDS = 1.0  # between asking a process to end and making it
LOCK = "lock"  # in a training's folder: held by whoever trains there
KEPT = 3  # unfinished trainings whose work is kept
REQUEST, OUTCOME = (
    "request.json",
    "outcome.json",
)  # of finetune.command, which is not imported here: it takes seconds


class TrainingError(ValueError):
    """A training that failed: one line that says why."""


def work_folder() -> Path:
    """Where trainings keep what they go on from."""
    return Path(os.environ.get(WORK) or Path(tempfile.gettempdir()) / "indextts-trainings")


def train(options: Options, output: Path, processes: int = 1, say: Callable[[str], None] = print) -> Path:
    """Train and put the archive at `output`; `say` gets every line of the log. Goes on where the same request was
    ended before. Raises TrainingError, and ValueError for options that are none."""
    options = options.checked()
    try:
        return _train(options, output, processes, say)
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        raise TrainingError(f"the disk is full ({work_folder()}); free some space and send it again") from e


def _train(options: Options, output: Path, processes: int, say: Callable[[str], None]) -> Path:
    folder = work_folder() / key_of(options)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder) as lock:
        return _train_in(folder, lock, options, output, processes, say)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[int]:
    """The descriptor of a lock on `folder`, for the process that trains there: it holds as long as that one lives.
    TrainingError where another has it."""
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                "this training, with the same data set and inputs, is under way already;"
                " wait for it, cancel it, or change an input such as seed"
            ) from None
        yield lock.fileno()


def _train_in(
    folder: Path, lock: int, options: Options, output: Path, processes: int, say: Callable[[str], None]
) -> Path:
    os.utime(folder)
    forget_old(folder)
    values = dataclasses.asdict(options)
    values["dataset"] = None if options.dataset is None else str(options.dataset.resolve())
    (folder / REQUEST).write_text(json.dumps(values), "utf-8")
    (folder / OUTCOME).unlink(missing_ok=True)
    last = supervise(command(folder, processes), say, lock)
    if not (folder / OUTCOME).exists():
        raise TrainingError(f"the training ended without a result; its last words: {last[:300]}")
    outcome = json.loads((folder / OUTCOME).read_text("utf-8"))
    if "error" in outcome:
        raise TrainingError(outcome["error"])
    shutil.move(outcome["archive"], output)
    shutil.rmtree(folder, ignore_errors=True)
    return output


def command(folder: Path, processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m", "finetune.command", str(folder)]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"),
        *("-m", "finetune.command", str(folder)),
    ]


def supervise(arguments: list[str], say: Callable[[str], None], lock: int) -> str:
    """Run until it ends, holding `lock`, and end it when this is left by an exception; returns the last line it
    wrote."""
    last = ""
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=(lock,),
    )
    lines: list[str] = []
    reader = threading.Thread(target=read_lines, args=(process, lines), daemon=True)

    def pass_on() -> None:
        nonlocal last
        while lines:
            if line := lines.pop(0).rstrip("\n"):
                last = line
                say(line)

    try:
        # short sleeps: a cancellation reaches this thread between two of them
        reader.start()
        while process.poll() is None:
            pass_on()
            time.sleep(POLL_SECONDS)
        reader.join(END_SECONDS)
        pass_on()
        return last
    finally:
        end(process)


def read_lines(process: subprocess.Popen, lines: list[str]) -> None:
    for line in process.stdout:
        lines.append(line)


def end(process: subprocess.Popen) -> None:
    """It and all it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def key_of(options: Options) -> str:
    """Names a request: its options, the content of its data set, and the model."""
    digest = hashlib.sha256(f"{options.to_json()}/{os.environ.get('INDEXTTS_MODEL', '')}".encode())
    if options.dataset is not None:
        with options.dataset.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def forget_old(current: Path) -> None:
    """Of trainings that were never ended, only the last few keep their work."""
    others = sorted(
        (p for p in current.parent.iterdir() if p.is_dir() and p != current), key=lambda p: p.stat().st_mtime
    )
    for path in others[: max(0, len(others) - KEPT + 1)]:
        shutil.rmtree(path, ignore_errors=True)
