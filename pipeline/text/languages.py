"""Which of the languages a model speaks a text is in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.text.characters import IDEOGRAPHS

SPOKEN = ("zh", "en", "ja", "es", "ar")  # of all models together
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_ARABIC = re.compile("[\u0620-\u064a\u0671-\u06d3]")
_LATIN = re.compile("[A-Za-zÀ-ÖØ-öø-ɏ]")
_WORD = re.compile("[A-Za-zÀ-ÖØ-öø-ɏ]+")
_LETTERS_A_WORD = 4  # an ideograph is about a word
_KANA_SHARE = 0.1  # of the signs of a Japanese text; one の makes no Chinese text Japanese
_SPANISH_SIGNS = re.compile("[ñÑ¿¡]")
_ACCENTS = re.compile("[áéíóúÁÉÍÓÚ]")  # English has a few as well: café
_SIGN_WEIGHT, _ACCENT_WEIGHT = 2.0, 0.3
_SPANISH = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "un",
        "una",
        "unos",
        "unas",
        "de",
        "del",
        "al",
        "y",
        "e",
        "o",
        "u",
        "en",
        "que",
        "qué",
        "con",
        "por",
        "para",
        "es",
        "son",
        "está",
        "están",
        "se",
        "su",
        "sus",
        "lo",
        "le",
        "les",
        "no",
        "sí",
        "más",
        "como",
        "cómo",
        "muy",
        "pero",
        "hola",
        "gracias",
        "buenos",
        "buenas",
        "días",
        "yo",
        "tú",
        "él",
        "ella",
        "usted",
        "nosotros",
        "ellos",
        "me",
        "te",
        "mi",
        "tu",
        "hay",
        "este",
        "esta",
        "eso",
        "hoy",
        "mañana",
        "todo",
        "todos",
        "cuando",
        "donde",
        "quién",
        "señor",
        "señora",
        "tengo",
        "tiene",
        "vive",
        "cuesta",
        "desde",
        "hasta",
        "sobre",
        "entre",
        "también",
        "ya",
    ]
)
_ENGLISH = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "to",
        "and",
        "or",
        "in",
        "on",
        "at",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "it",
        "this",
        "that",
        "these",
        "those",
        "with",
        "for",
        "from",
        "by",
        "as",
        "not",
        "you",
        "i",
        "he",
        "she",
        "we",
        "they",
        "my",
        "your",
        "his",
        "her",
        "our",
        "their",
        "have",
        "has",
        "had",
        "do",
        "does",
        "did",
        "will",
        "would",
        "can",
        "could",
        "there",
        "here",
        "what",
        "who",
        "how",
        "when",
        "where",
        "which",
        "if",
        "but",
        "so",
        "hello",
        "please",
        "yes",
        "all",
        "one",
        "out",
        "up",
        "about",
        "into",
        "over",
        "after",
        "good",
        "day",
    ]
)


def detect(text: str, languages: Sequence[str]) -> str:
    """The one of `languages` that most of `text` is written in, by its script and, between Spanish and English, by its
    words; of a text without letters the first."""
    kana, ideographs = len(_KANA.findall(text)), len(_IDEOGRAPH.findall(text))
    asian = "ja" if kana >= _KANA_SHARE * (kana + ideographs) and kana else "zh"
    scores = {
        asian: (kana + ideographs) * 1.0,
        "ar": len(_ARABIC.findall(text)) / _LETTERS_A_WORD,
        _latin(text): len(_LATIN.findall(text)) / _LETTERS_A_WORD,
    }
    spoken = {language: score for language, score in scores.items() if language in languages and score}
    return max(spoken, key=lambda language: spoken[language]) if spoken else languages[0]


def _latin(text: str) -> str:
    words = [word.lower() for word in _WORD.findall(text)]
    signs = _SIGN_WEIGHT * len(_SPANISH_SIGNS.findall(text)) + _ACCENT_WEIGHT * len(_ACCENTS.findall(text))
    spanish = sum(word in _SPANISH for word in words) + signs
    return "es" if spanish > sum(word in _ENGLISH for word in words) else "en"
