"""The tokenizer of a vocabulary file, whichever kind it is."""

from pathlib import Path

from pipeline.text.multilingual import MultilingualTokenizer, is_multilingual
from pipeline.text.tokenize import Tokenizer


def load_tokenizer(path: Path, text_tokens: int) -> Tokenizer | MultilingualTokenizer:
    """The tokenizer of a model whose GPT has embeddings for `text_tokens`.

    Raises ValueError for a file that cannot be used or is another model's: SentencePiece's tokens may be fewer, those
    of many languages must be as many, for the special ones follow the file's."""
    tokenizer = MultilingualTokenizer(path) if is_multilingual(path) else Tokenizer(path)
    size = tokenizer.vocabulary_size
    if size > text_tokens or (is_multilingual(path) and size != text_tokens):
        raise ValueError(f"{path.name} has {size} pieces; the GPT has text embeddings for {text_tokens}")
    return tokenizer
