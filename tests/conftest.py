"""Shared fixtures: the golden files and one mini model, loaded once through the real loading path."""
from pathlib import Path

import pytest
import torch

from pipeline.config import load_config
from pipeline.deterministic import write_model
from pipeline.model import Model, load_model

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def mini_directory(tmp_path_factory) -> Path:
    """A mini model in the published layout, pickles and all."""
    return write_model(tmp_path_factory.mktemp("model") / "mini", load_config("mini"), ROOT / "models/mini/bpe.model")


@pytest.fixture(scope="session")
def mini_model(mini_directory) -> Model:
    return load_model(mini_directory, load_config("mini"))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
