"""Text front end: written text in, segments of tokens out."""

from pipeline.text.glossary import Glossary
from pipeline.text.normalize import TextNormalizer, detect_language
from pipeline.text.prepare import MAX_CHARACTERS, TextSegment, prepare_text
from pipeline.text.split import split_segments
from pipeline.text.tokenize import Tokenizer

__all__ = [
    "MAX_CHARACTERS",
    "Glossary",
    "TextNormalizer",
    "TextSegment",
    "Tokenizer",
    "detect_language",
    "prepare_text",
    "split_segments",
]
