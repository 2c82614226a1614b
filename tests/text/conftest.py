"""What the text tests share: one normalizer and the toy tokenizer of the golden files."""

import pytest

from pipeline.text.normalize import TextNormalizer
from pipeline.text.tokenize import Tokenizer
from tests.conftest import GOLDEN


@pytest.fixture(scope="session")
def normalizer() -> TextNormalizer:
    return TextNormalizer()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(GOLDEN / "toy_bpe.model")
