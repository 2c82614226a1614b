"""Text front end: written text in, segments of tokens out."""

from pipeline.text.glossary import Glossary
from pipeline.text.markup import Pause, Speech, parse_markup
from pipeline.text.normalize import TextNormalizer, detect_language
from pipeline.text.prepare import MAX_CHARACTERS, TextSegment, UnspeakableError, prepare_text
from pipeline.text.script import prepare_script
from pipeline.text.split import split_segments
from pipeline.text.tokenize import Tokenizer

__all__ = [
    "MAX_CHARACTERS",
    "Glossary",
    "Pause",
    "Speech",
    "TextNormalizer",
    "TextSegment",
    "Tokenizer",
    "UnspeakableError",
    "detect_language",
    "parse_markup",
    "prepare_script",
    "prepare_text",
    "split_segments",
]
