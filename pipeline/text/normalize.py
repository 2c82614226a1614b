"""From written to spoken text: numbers, dates, money and abbreviations in words, punctuation unified."""

import functools
import logging
import re
from typing import TYPE_CHECKING

from pipeline.text.annotations import ANNOTATION, mark_annotations
from pipeline.text.characters import clean, collapse_spaces, has_ideograph, map_after, map_before
from pipeline.text.chunks import sentence_chunks
from pipeline.text.glossary import LANGUAGES, Glossary
from pipeline.text.pinyin import has_pinyin, spell_pinyin
from pipeline.text.protect import Shield, hide_chinese_spans, placeholders
from pipeline.text.rewrite import (
    expand_contractions,
    is_email,
    mend_english,
    rewrite_for_grammar,
    spell_addresses,
)

if TYPE_CHECKING:
    import wetext

log = logging.getLogger(__name__)

_LATIN_LETTER = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]")
_WORD = re.compile(r"[^ ]+")
_WORD_PART = re.compile(r"[0-9]+(?:[.,:/][0-9]+)*|[^\W0-9_]+|[^\w ]|_")


class UnreadableError(Exception):
    """A grammar has no reading for a piece of text."""


def detect_language(text: str) -> str:
    """The grammar for `text`, "zh" or "en".

    "zh" if it has a Chinese character or no Latin letter, is an e-mail address or holds toned pinyin.
    """
    chinese = has_ideograph(text) or not _LATIN_LETTER.search(text) or is_email(text) or has_pinyin(text)
    return "zh" if chinese else "en"


class TextNormalizer:
    """Makes text speakable, with the wetext grammars for Chinese and English and an optional glossary."""

    def __init__(self, glossary: Glossary | None = None, phones: bool = False) -> None:
        """`phones`: pronunciations written into the text or the glossary (`annotations`) are taken as such."""
        self.glossary = glossary or Glossary()
        self.phones = phones

    def warm_up(self) -> None:
        """Load the grammars now (about 0.3 s); otherwise the first call does."""
        for language in LANGUAGES:
            _grammar(language)

    def normalize(self, text: str, language: str = "auto") -> str:
        """`text` as it is to be spoken; empty if nothing of it can be.

        `language` is "zh", "en" or "auto" (`detect_language`). Takes time linear in the text. Words that
        the grammar cannot read are kept as written, with a warning that counts them.
        Raises ValueError if `text` is not a string or `language` is unknown.
        """
        if not isinstance(text, str):
            raise ValueError(f"the text is of type {type(text).__name__}; it must be a string")
        if language not in ("auto", *LANGUAGES):
            raise ValueError(f"language is {language!r}; allowed: auto, zh, en")
        shield = Shield()
        text = clean(text)
        if self.phones:
            text = ANNOTATION.sub(lambda found: shield.hide(found[0]), mark_annotations(text))
        text = map_before(text)
        if language == "auto":
            language = detect_language(text)

        text = self.glossary.replace(text, language, lambda reading: shield.hide(self._spoken(reading)))
        text = expand_contractions(spell_addresses(text))
        if language == "zh":
            text = hide_chinese_spans(text, shield)
        text = collapse_spaces(rewrite_for_grammar(text, language))
        text = "".join(_read_chunk(chunk, language) for chunk in sentence_chunks(text))
        return map_after(shield.restore(text), language)

    def _spoken(self, reading: str) -> str:
        """A glossary reading as it stands in the result."""
        return mark_annotations(reading) if self.phones else spell_pinyin(reading)


@functools.cache
def _grammar(language: str) -> "wetext.Normalizer":
    # Imported on first use: the import loads every grammar.
    import wetext

    return wetext.Normalizer(lang=language, operator="tn")


def _read(text: str, language: str) -> str:
    """wetext's reading of `text`, or UnreadableError where it raises, gives nothing or loses a placeholder."""
    try:
        read = _grammar(language).normalize(text)
    except (AssertionError, RuntimeError) as error:  # what wetext and its FST library raise on unknown tokens
        raise UnreadableError from error
    if (text and not read) or placeholders(read) != placeholders(text):
        raise UnreadableError
    return mend_english(read, text) if language == "en" else read


def _read_chunk(chunk: str, language: str) -> str:
    """The reading of `chunk`, outer spaces kept; word by word where the whole has none."""
    core = chunk.strip(" ")
    lead = chunk[: len(chunk) - len(chunk.lstrip(" "))]
    trail = chunk[len(lead) + len(core) :]
    if not core:
        return chunk
    try:
        return lead + _read(core, language) + trail
    except UnreadableError:
        pass
    words = [_read_word(word, language) for word in _WORD.findall(core)]
    unread = words.count(None)
    if unread:
        log.warning(
            "%d of %d words have no reading in the %s grammar; kept as written", unread, len(words), language
        )
    return lead + " ".join(word or written for word, written in zip(words, _WORD.findall(core))) + trail


def _read_word(word: str, language: str) -> str | None:
    """The reading of one word, taken apart at its symbols if need be ("5€": "5 €"); None if there is none."""
    for spelling in (word, " ".join(_WORD_PART.findall(word))):
        try:
            return _read(spelling, language)
        except UnreadableError:
            continue
    return None
