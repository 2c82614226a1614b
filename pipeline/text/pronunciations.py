"""Pronunciations written into a text, `<word|PRONUNCIATION>`, and special tokens, `<|HAPPY|>`: what IndexTTS-2.5 reads.

A model that reads phones takes `pipeline.text.annotations` instead. A pronunciation is pinyin with tone
digits ("XING2", "KUAI4 LE4"), CMU phones with stress digits ("M IH1 . N AH0 T") or kana. It stands in the
word's place between two special tokens, kana by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.text.annotations import CONSONANTS, VOWELS
from pipeline.text.characters import has_ideograph, is_speakable
from pipeline.text.multilingual import SPECIAL_TOKENS, TAGGED
from pipeline.text.pinyin import SYLLABLES, spell_pinyin
from pipeline.text.written.rule import Form

KIND = "annotation"  # of forms whose reading nothing changes
_ANNOTATION = re.compile(r"<([^\s|<>][^|<>\n]{0,59})\|([^|<>\n]{1,200})>")
_OPEN = re.compile(r"<([^\s|<>][^|<>\n]{0,59})\|([^\s|<>]{0,200})")
_TOKEN = re.compile(r"<\|([A-Za-z0-9_/.]{1,24})\|>")
_LEFT_OVER = re.compile(r"<\||\|>")
_KANA = re.compile(r"[\u3040-\u30ff]+")
_SYLLABLE = re.compile(r"([A-ZÜ]{1,6})[1-5]")
_VOWELS = frozenset({*VOWELS, "AH", "ER"})
_ONE_LETTER = frozenset("aeo")  # syllables that are no pinyin in plain text
PINYIN_TOKEN, PHONES_TOKEN = "<|SPECIAL_TOKEN_2|>", "<|SPECIAL_TOKEN_1|>"
# What a user may write: not the tokens that start or end a text or tell its language.
_ALLOWED = {name.lower(): name for name in SPECIAL_TOKENS[2 + TAGGED :]}
_SHOWN = 40  # characters of a pronunciation in a note


@dataclass(frozen=True)
class Note:
    """What could not be done as asked, at a place in the text."""

    place: int
    text: str


def find_pronunciations(text: str) -> tuple[list[Form], list[Note]]:
    """The annotations and special tokens of `text` in order, and notes on those that are unknown or left open: of these
    the word alone is left to be read."""
    forms: list[Form] = []
    notes: list[Note] = []
    taken = [False] * (len(text) + 1)

    def add(start: int, end: int, spoken: str) -> None:
        forms.append(Form(start, end, KIND, spoken))
        taken[start:end] = [True] * (end - start)

    def leave_word(match: re.Match[str], note: str) -> None:
        add(match.start(), match.start(1), "")
        add(match.end(1), match.end(), "")
        notes.append(Note(match.start(), note))

    for match in _TOKEN.finditer(text):
        name = _ALLOWED.get(match[1].lower())
        if name is not None:
            add(*match.span(), f"<|{name}|>")
    for match in _ANNOTATION.finditer(text):
        spoken = pronounced(match[1], match[2])
        if spoken is not None:
            add(*match.span(), spoken)
        else:
            shown = match[2].strip()[:_SHOWN]
            leave_word(
                match, f"the pronunciation '{shown}' of '{match[1]}' is unknown: it is read as written"
            )
    for match in _OPEN.finditer(text):
        if not any(taken[match.start() : match.end()]):
            leave_word(match, f"the annotation of '{match[1]}' is not closed: it is read as written")
    for match in _LEFT_OVER.finditer(text):
        if not any(taken[match.start() : match.end()]):
            add(*match.span(), " ")
    return sorted(forms, key=lambda form: form.start), sorted(notes, key=lambda note: note.place)


def pronounced(word: str, pronunciation: str) -> str | None:
    """What the model reads for `word` said as `pronunciation`; None where that is no pronunciation."""
    parts = pronunciation.upper().split()
    if parts and all(map(_KANA.fullmatch, parts)):
        return f" {''.join(parts)} "
    if not parts or not (all(map(_is_pinyin, parts)) or all(map(_is_phone, parts))):
        return None
    token = PINYIN_TOKEN if has_ideograph(word) else PHONES_TOKEN
    return f"{token}{spell_pinyin(' '.join(parts))}{token}"


def without_pronunciations(text: str) -> str:
    """`text` with the words alone."""
    return _OPEN.sub(r"\1", _TOKEN.sub(" ", _ANNOTATION.sub(r"\1", text)))


def beside_pronunciations(text: str) -> str:
    """`text` without annotations and their words; with them where there is nothing else."""
    rest = _TOKEN.sub(" ", _ANNOTATION.sub(" ", text))
    return rest if is_speakable(rest) else without_pronunciations(text)


def _is_pinyin(part: str) -> bool:
    match = _SYLLABLE.fullmatch(part)
    letters = match[1].lower().replace("ü", "v") if match else ""
    return letters in SYLLABLES or letters in _ONE_LETTER


def _is_phone(part: str) -> bool:
    vowel = part[:-1] in _VOWELS and part[-1] in "012"
    return vowel or part in CONSONANTS or part == "."
