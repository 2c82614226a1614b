"""Shared fixtures: the golden files and one mini model, loaded once through the real loading path.

What takes long to import is imported by fixtures: pytest-xdist reads this in the process that starts the workers, too,
and they wait for it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadFileScheduling

from pipeline.config import load_config

if TYPE_CHECKING:
    import torch

    from pipeline.model import Model

# One thread: threads that wait for one another crawl on a machine that runs other things as well, and
# the models here are too small to gain by more. Servers and scripts that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
VOCABULARY_25 = ROOT / "models" / "mini25" / load_config("mini25").vocabulary
KEPT, WORKER = "INDEXTTS_KEPT", "PYTEST_XDIST_WORKER"  # variables of the service, and of pytest-xdist
MODELS = ("mini", "tiny-en")  # that ship with this repository
# The files whose tests ask real servers, each of which starts once.
SERVERS = (
    "service/test_hostile.py",
    "service/test_front.py",
    "service/test_server.py",
    "service/test_snippets.py",
    "service/test_stream.py",
    "service/test_concurrent.py",
    "service/test_soak.py",
    "service/test_schema.py",
    "service/test_conversion.py",
    "service/test_adapters.py",
)
# The files that take longest, which come first: at the end no worker is left alone with one of them.
LONGEST = (
    *SERVERS,
    "finetune/test_training.py",
    "finetune/test_trainer.py",
    "weights/test_faults.py",
    "training/test_stages.py",
    "service/test_engine.py",
    "test_tiny_en.py",
    "service/test_alone.py",
    "weights/test_end_to_end.py",
    "checks/test_gpu_check.py",
    "service/test_fit.py",
    "weights/test_processes.py",
    "enhance/test_hostile_audio.py",
    "gpt/test_batch.py",
    "gateway/test_interface.py",
)


class ByFile(LoadFileScheduling):
    """A file stays with one worker, and so do those that ask the same servers."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "servers" if file.removeprefix("tests/") in SERVERS else file


def pytest_collection(session: pytest.Session) -> None:
    """Where tests are run: how busy the machine is, is not tested."""
    import hypothesis

    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; every file stays together and in its own order."""
    place = {ROOT / "tests" / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What has been imported stays: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def kept(tmp_path_factory) -> Iterator[Path]:
    """Where the models of deterministic weights stay for all workers of a run and all that these start."""
    folder = tmp_path_factory.getbasetemp()
    if WORKER in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEPT, str(folder / "kept"))
        yield folder / "kept"


@pytest.fixture(scope="session")
def mini_directory(kept) -> Path:
    """A mini model in the published layout, pickles and all."""
    from pipeline.deterministic import kept_model

    return kept_model(kept, load_config("mini"), ROOT / "models/mini/bpe.model")


@pytest.fixture(scope="session")
def mini_directory_25(kept) -> Path:
    """The same of IndexTTS-2.5."""
    from pipeline.deterministic import kept_model

    return kept_model(kept, load_config("mini25"), VOCABULARY_25)


@pytest.fixture(scope="session")
def mini_model(mini_directory) -> Model:
    from pipeline.model import load_model

    return load_model(mini_directory, load_config("mini"), precision="exact")


@pytest.fixture(scope="session")
def mini_model_25(mini_directory_25) -> Model:
    from pipeline.model import load_model

    return load_model(mini_directory_25, load_config("mini25"), precision="exact")


@pytest.fixture
def generator() -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(0)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Where two files differ: pytest's own comparison of two WAVs takes longer than the tests may."""
    if op != "==" or not (isinstance(left, bytes) and isinstance(right, bytes)):
        return None
    first = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    where = "one is the beginning of the other" if first is None else f"they differ from byte {first} on"
    return [f"{len(left)} bytes == {len(right)} bytes: {where}"]
