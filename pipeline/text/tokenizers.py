"""The tokenizer that a model's configuration asks for."""

from pathlib import Path

from pipeline.config import ModelConfig
from pipeline.text.multilingual import MultilingualTokenizer, is_multilingual
from pipeline.text.phones import PhoneTokenizer
from pipeline.text.tokenize import TextTokenizer, Tokenizer

PHONES = "phones"


def make_tokenizer(config: ModelConfig, directory: Path) -> TextTokenizer | MultilingualTokenizer:
    """Of phones, or of the vocabulary file in `directory`; ValueError as `load_tokenizer`."""
    room = config.gpt.number_text_tokens
    if config.vocabulary is not None:
        return load_tokenizer(directory / config.vocabulary, room)
    tokenizer = PhoneTokenizer()
    if tokenizer.vocabulary_size > room:
        raise ValueError(
            f"there are {tokenizer.vocabulary_size} phones; the GPT has text embeddings for {room}"
        )
    return tokenizer


def load_tokenizer(path: Path, text_tokens: int) -> Tokenizer | MultilingualTokenizer:
    """The tokenizer of a vocabulary file, whichever kind it is, for a GPT with embeddings for `text_tokens`.

    Raises ValueError for a file that cannot be used or is another model's: SentencePiece's tokens may be fewer, those
    of many languages must be as many, for the special ones follow the file's."""
    tokenizer = MultilingualTokenizer(path) if is_multilingual(path) else Tokenizer(path)
    size = tokenizer.vocabulary_size
    if size > text_tokens or (is_multilingual(path) and size != text_tokens):
        raise ValueError(f"{path.name} has {size} pieces; the GPT has text embeddings for {text_tokens}")
    return tokenizer
