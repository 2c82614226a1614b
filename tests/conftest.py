"""Shared fixtures: the golden files and one mini model, loaded once through the real loading path."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

from pipeline.config import load_config
from pipeline.deterministic import write_model
from pipeline.model import Model, load_model

# One thread: threads that wait for one another crawl on a machine that runs other things as well, and
# the models here are too small to gain by more. Servers and scripts that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

hypothesis.settings.register_profile("patient", deadline=None)  # how busy the machine is, is not tested
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
VOCABULARY_25 = ROOT / "models" / "mini25" / load_config("mini25").vocabulary
MODELS = ("mini", "tiny-en")  # that ship with this repository
# The files that take longest, which come first: at the end no worker is left alone with one of them.
LONGEST = (
    "finetune/test_training.py",
    "finetune/test_trainer.py",
    "service/test_hostile.py",
    "weights/test_faults.py",
    "training/test_stages.py",
    "service/test_engine.py",
    "service/test_conversion.py",
    "test_tiny_en.py",
    "service/test_alone.py",
    "weights/test_end_to_end.py",
    "checks/test_gpu_check.py",
    "service/test_fit.py",
    "service/test_server.py",
    "service/test_snippets.py",
    "weights/test_processes.py",
    "service/test_front.py",
    "enhance/test_hostile_audio.py",
    "gpt/test_batch.py",
    "gateway/test_interface.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; every file stays together and in its own order."""
    place = {ROOT / "tests" / name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def mini_directory(tmp_path_factory) -> Path:
    """A mini model in the published layout, pickles and all."""
    return write_model(
        tmp_path_factory.mktemp("model") / "mini", load_config("mini"), ROOT / "models/mini/bpe.model"
    )


@pytest.fixture(scope="session")
def mini_directory_25(tmp_path_factory) -> Path:
    """The same of IndexTTS-2.5."""
    return write_model(tmp_path_factory.mktemp("model") / "mini25", load_config("mini25"), VOCABULARY_25)


@pytest.fixture(scope="session")
def mini_model(mini_directory) -> Model:
    return load_model(mini_directory, load_config("mini"), precision="exact")


@pytest.fixture(scope="session")
def mini_model_25(mini_directory_25) -> Model:
    return load_model(mini_directory_25, load_config("mini25"), precision="exact")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Where two files differ: pytest's own comparison of two WAVs takes longer than the tests may."""
    if op != "==" or not (isinstance(left, bytes) and isinstance(right, bytes)):
        return None
    first = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    where = "one is the beginning of the other" if first is None else f"they differ from byte {first} on"
    return [f"{len(left)} bytes == {len(right)} bytes: {where}"]
