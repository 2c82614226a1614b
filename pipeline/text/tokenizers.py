"""The tokenizer that a model's configuration asks for."""

from pathlib import Path

from pipeline.text.phones import PhoneTokenizer
from pipeline.text.tokenize import TextTokenizer, Tokenizer

PHONES = "phones"
SENTENCE_PIECES = "bpe.model"


def make_tokenizer(text: str, directory: Path) -> TextTokenizer:
    """`text` as in the configuration: "phones", or "pieces" of the SentencePiece model in `directory`."""
    return PhoneTokenizer() if text == PHONES else Tokenizer(directory / SENTENCE_PIECES)
