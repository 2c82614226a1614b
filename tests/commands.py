"""The commands of `script/`, called in this process, which has imported what they need."""

import contextlib
import importlib.util
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.conftest import KEPT, ROOT


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit status: as of a process."""

    returncode: int
    stdout: str
    stderr: str


def load_command(name: str) -> ModuleType:
    """`script/lib/NAME_command.py` as a module of its own."""
    path = ROOT / f"script/lib/{name}_command.py"
    spec = importlib.util.spec_from_file_location(f"tested_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def as_started(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """What a process starts with, and afterwards what was there: folder, settings, temporary folder, log
    level.
    """
    kept, level, temporary = dict(os.environ), logging.getLogger().level, tempfile.tempdir
    for name in [name for name in os.environ if name.startswith("INDEXTTS_") and name != KEPT]:
        del os.environ[name]
    os.environ.update(environment)
    tempfile.tempdir = environment.get("TMPDIR", temporary)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
        logging.getLogger().setLevel(level)
        tempfile.tempdir = temporary


def run(module: ModuleType, arguments: Sequence[object], folder: Path, **environment: str) -> Done:
    """The command of `module` with `arguments`, in `folder`."""
    out, err = io.StringIO(), io.StringIO()
    with as_started(folder, environment), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = module.main([str(argument) for argument in arguments])
    return Done(status, out.getvalue(), err.getvalue())
