"""From written to spoken text: what a kind of written form claims is read by it, the rest by the wetext grammars."""

import functools
import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.text.aligned import Aligned
from pipeline.text.annotations import find_annotations, mark_annotations
from pipeline.text.characters import IDEOGRAPHS, cleaned, has_ideograph, mapped_after, mapped_before
from pipeline.text.glossary import Glossary
from pipeline.text.languages import detect
from pipeline.text.pinyin import has_pinyin, pinyin_forms, spell_pinyin
from pipeline.text.plain import strip_markup
from pipeline.text.pronunciations import KIND, Note, beside_pronunciations, find_pronunciations
from pipeline.text.written.addresses import is_email
from pipeline.text.written.rule import CLAIMED, Form, find_forms, masked
from pipeline.text.written.rules import RANGED, RULES, TO
from pipeline.text.written.units import BY_SYMBOL

if TYPE_CHECKING:
    import wetext

log = logging.getLogger(__name__)

WITH_GRAMMAR = ("zh", "en")  # languages that wetext has grammars of
_SPACED = ("en", "es", "ar")  # that write spaces between words
_LATIN_LETTER = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏ]")
# What no kind has claimed and is neither a letter nor a mark goes to the grammar, with the word it stands in.
# The letters before its sign are looked for from the first of them on alone: in time with the length of a text.
_UNCLAIMED = re.compile(
    r"(?:(?<![^\W_A-Za-zÀ-ɏ])[^\W_A-Za-zÀ-ɏ]++)?[^\w\s.,!?'…:;()，；。！？、·~*|_/+=<>^\"\\#%&@-][^\W_A-Za-zÀ-ɏ]*"
)
_OPERATOR = re.compile(r"(?<=[A-Za-z0-9)]) ?[×÷=±] ?(?=[A-Za-z0-9(])")
_LETTERS = re.compile(r"[A-Za-z]+")
_LONGEST_UNCLAIMED = 40  # characters
_MOST_UNCLAIMED = 100  # different words of a text that the grammars are asked for
_DASH = re.compile(r" ?(?:-{1,2}|~|—) ?")
_LOST_CATEGORIES = frozenset({"Sm", "Sc", "So"})
_SILENT_SIGNS = frozenset("+~|<>=^¬")  # punctuation, mostly
GIVEN = "glossary"  # the kind of a reading that the writer gives


@dataclass(frozen=True)
class Reading:
    """A text as it is to be spoken, aligned to the text as written, with its forms and the signs that are lost.

    `forms` have their places in the written text.
    """

    written: str
    aligned: Aligned
    forms: tuple[Form, ...]
    language: str
    lost: tuple[tuple[int, str], ...] = ()  # place in the written text, sign
    notes: tuple[Note, ...] = ()  # in the written text's places

    @property
    def spoken(self) -> str:
        return self.aligned.text

    def written_span(self, start: int, end: int) -> tuple[int, int]:
        """The written span of the spoken characters `start` to `end`."""
        return self.aligned.written(start, end)


def detect_language(text: str) -> str:
    """The language for `text`, "zh" or "en".

    "zh" if it has a Chinese character or no Latin letter, is an e-mail address or a formula of names and units
    alone, or holds toned pinyin.
    """
    chinese = has_ideograph(text) or not _LATIN_LETTER.search(text) or _is_formula(text)
    chinese = chinese or is_email(text) or has_pinyin(text)
    return "zh" if chinese else "en"


def _is_formula(text: str) -> bool:
    if not _OPERATOR.search(text):
        return False
    return all(len(word) == 1 or word in BY_SYMBOL for word in _LETTERS.findall(text))


class TextNormalizer:
    """Makes text speakable: written forms by their kinds, with an optional glossary that overrules them all."""

    def __init__(
        self,
        glossary: Glossary | None = None,
        languages: Sequence[str] = WITH_GRAMMAR,
        *,
        phones: bool = False,
        annotated: bool = False,
    ) -> None:
        """`languages`: those that are spoken. Pronunciations written into the text or the glossary are taken as such by
        `phones` as a model that reads phones wants them (`annotations`), by `annotated` as one with special tokens
        does, which are read as well (`pronunciations`)."""
        self.glossary = glossary or Glossary()
        self.languages, self.phones, self.annotated = tuple(languages), phones, annotated

    def warm_up(self) -> None:
        """Load the grammars and number words now (about 0.6 s); otherwise the first text that needs them does."""
        for language in self.languages:
            if language in WITH_GRAMMAR:
                _grammar(language)
            self.normalize("5 ∮", language)

    def normalize(self, text: str, language: str = "auto") -> str:
        """`text` as it is to be spoken (see `read`); empty if nothing of it can be."""
        return self.read(text, language).spoken

    def language(self, text: str) -> str:
        """The language of `text` without its markup."""
        return self._detected(mapped_before(strip_markup(cleaned(text))).text)

    def _detected(self, plain: str) -> str:
        if len(self.languages) == 1:
            return self.languages[0]
        if set(self.languages) == set(WITH_GRAMMAR):
            return detect_language(plain)
        return detect(beside_pronunciations(plain) if self.annotated else plain, self.languages)

    def read(self, text: str, language: str = "auto") -> Reading:
        """`text` as it is to be spoken, aligned to the text as written.

        `language` is one of those that are spoken, or "auto". Takes time linear in the text.
        Raises ValueError if `text` is not a string or `language` is unknown.
        """
        if not isinstance(text, str):
            raise ValueError(f"the text is of type {type(text).__name__}; it must be a string")
        if language not in ("auto", *self.languages):
            raise ValueError(f"language is {language!r}; allowed: auto, {', '.join(self.languages)}")
        plain = mapped_before(strip_markup(cleaned(text)))
        if language == "auto":
            language = self._detected(plain.text)
        pronounced, notes = self._written_pronunciations(plain.text)
        grammar = self._grammar(plain.text, language)
        forms = self._forms(plain.text, grammar, pronounced)
        spoken, protected = _compose(plain, forms, grammar)
        after = _after(spoken, protected, grammar)
        lost = _lost(text, plain, forms)
        places = [
            Form(*plain.written(form.start, form.end), form.kind, form.spoken)
            for form in forms
            if form.kind != "to"
        ]
        told = tuple(Note(plain.written(note.place, note.place + 1)[0], note.text) for note in notes)
        return Reading(text, after, tuple(places), language, lost, told)

    def _grammar(self, plain: str, language: str) -> str:
        """By which language's rules a text is read; with language tags one can be asked for that the text is not in."""
        if self.annotated and language == "zh" and "en" in self.languages:
            beside = beside_pronunciations(plain)
            return "en" if _LATIN_LETTER.search(beside) and not has_ideograph(beside) else language
        return language

    def _written_pronunciations(self, text: str) -> tuple[list[Form], list[Note]]:
        """What the writer says is to be read, and notes on what of it cannot be."""
        if self.annotated:
            return find_pronunciations(text)
        annotated = find_annotations(text) if self.phones else []
        return [Form(start, end, GIVEN, spoken) for start, end, spoken in annotated], []

    def _glossary_forms(self, text: str, language: str) -> list[Form]:
        return [
            Form(start, end, GIVEN, mark_annotations(reading) if self.phones else spell_pinyin(reading))
            for start, end, reading in self.glossary.find(text, language)
            if CLAIMED not in text[start:end]
        ]

    def _forms(self, text: str, language: str, pronounced: list[Form]) -> list[Form]:
        text = masked(text, pronounced)
        forms = pronounced + self._glossary_forms(text, language)
        forms.sort(key=lambda form: form.start)
        text = masked(text, forms)
        if language == "zh":
            found = [
                Form(start, end, "pinyin", text[start:end] if self.annotated else spelled)
                for start, end, spelled in pinyin_forms(text)
            ]
            forms, text = forms + found, masked(text, found)
        found = find_forms(text, RULES[language])
        text = masked(text, found)
        unclaimed = _unclaimed(text, language)
        forms = sorted([*forms, *found, *unclaimed], key=lambda form: form.start)
        return _with_ranges(text, forms, language)


def _with_ranges(text: str, forms: list[Form], language: str) -> list[Form]:
    """A dash between two forms of one kind is a form of its own: "to"."""
    joined = forms[:1]
    for form in forms[1:]:
        last = joined[-1]
        gap = text[last.end : form.start]
        if form.kind in RANGED and last.kind == form.kind and len(gap) <= 4 and _DASH.fullmatch(gap):
            joined.append(Form(last.end, form.start, "to", TO[language]))
        joined.append(form)
    return joined


def _compose(plain: Aligned, forms: list[Form], language: str) -> tuple[Aligned, list[tuple[int, int]]]:
    """`plain` with its forms read, and where in the result glossary readings stand, which nothing changes."""
    edits: list[tuple[int, int, str]] = []
    protected: list[tuple[int, int]] = []
    shift = 0
    for index, form in enumerate(forms):
        spoken = form.spoken
        if form.start and edits and edits[-1][1] == form.start:
            previous = edits[-1][2][-1:]
        else:
            previous = plain.text[form.start - 1 : form.start]
        following = plain.text[form.end : form.end + 1]
        adjacent = index + 1 < len(forms) and forms[index + 1].start == form.end
        if _run_on(previous, spoken[:1], language):
            spoken = " " + spoken
        if not adjacent and _run_on(spoken[-1:], following, language):
            spoken += " "
        edits.append((form.start, form.end, spoken))
        if form.kind in (GIVEN, KIND) and spoken:
            protected.append((form.start + shift, form.start + shift + len(spoken)))
        shift += len(spoken) - (form.end - form.start)
    return plain.edited(edits), protected


def _run_on(left: str, right: str, language: str) -> bool:
    """Whether two words would become one."""
    if not (left.isalnum() and right.isalnum()):
        return False
    if language in _SPACED:
        return True
    # between Chinese or Japanese there are no spaces; a digit of a glossary reading stays as it is
    return bool(_LATIN_LETTER.match(left) and _LATIN_LETTER.match(right))


def _after(spoken: Aligned, protected: list[tuple[int, int]], language: str) -> Aligned:
    if not protected:
        return mapped_after(spoken, language)
    # glossary readings keep their own marks and signs: hidden behind private characters
    hidden = [spoken.text[start:end] for start, end in protected]
    marks = [chr(0xF0000 + index % 0xFFFE) for index in range(len(hidden))]
    covered = spoken.edited([(start, end, mark) for (start, end), mark in zip(protected, marks, strict=True)])
    mapped = mapped_after(covered, language)
    remaining = iter(hidden)
    return mapped.sub(re.compile("[\U000f0000-\U000ffffd]"), lambda match: next(remaining))


def _lost(written: str, plain: Aligned, forms: list[Form]) -> tuple[tuple[int, str], ...]:
    """The signs of `written` that no form has read."""
    if written.isascii():
        return ()
    heard: set[int] = set()
    for form in forms:
        if form.spoken.strip():
            start, end = plain.written(form.start, form.end)
            heard.update(range(start, end))
    return tuple(
        (place, sign)
        for place, sign in enumerate(written)
        if place not in heard
        and not sign.isascii()
        and unicodedata.category(sign) in _LOST_CATEGORIES
        and sign not in _SILENT_SIGNS
        and unicodedata.normalize("NFKC", sign) not in _SILENT_SIGNS
        and not unicodedata.normalize("NFKC", sign).isalnum()
    )


# --- what no kind has claimed ---------------------------------------------------------------------------
def _unclaimed(text: str, language: str) -> list[Form]:
    """The grammar's readings of words with signs that no kind knows."""
    forms = []
    asked: set[str] = set()
    if language not in WITH_GRAMMAR:
        return []
    for match in _UNCLAIMED.finditer(text):
        word = match[0]
        if CLAIMED in word or len(word) > _LONGEST_UNCLAIMED or re.fullmatch(f"[{IDEOGRAPHS}]*", word):
            continue
        asked.add(word)
        if len(asked) > _MOST_UNCLAIMED:
            break
        read = _read_word(word, language)
        if read is not None and read != word:
            forms.append(Form(match.start(), match.end(), "grammar", read))
    return forms


@functools.cache
def _grammar(language: str) -> "wetext.Normalizer":
    # Imported on first use: the import loads every grammar.
    import wetext

    return wetext.Normalizer(lang=language, operator="tn")


@functools.lru_cache(1024)
def _read_word(word: str, language: str) -> str | None:
    """wetext's reading of `word`; None where it has none."""
    try:
        return _grammar(language).normalize(word) or None
    except (AssertionError, RuntimeError):  # what wetext and its FST library raise on unknown tokens
        return None
