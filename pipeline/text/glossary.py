"""Glossary: how to say terms that the normalizer or the model would misread."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from pipeline.text.characters import clean, map_before

LANGUAGES = ("zh", "en", "ja", "es", "ar")
MAX_TERMS = 1000
MAX_TERM_CHARACTERS = 100
MAX_READING_CHARACTERS = 200


class Glossary:
    """Terms and their readings per language, matched longest first and without regard to case.

    A term that starts or ends with a Latin letter or digit matches only where no other one follows or
    precedes: "AI" does not match in "MAIN". A term without a reading for a language is left as it is.
    """

    def __init__(self, readings: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """`readings`: term -> {"zh": reading, "en": reading}, either may be absent.

        Raises ValueError for an empty or over-long term or reading, an unknown language or too many terms.
        """
        self._readings: dict[str, dict[str, str]] = {}
        self._terms: dict[str, str] = {}  # case-folded -> as written
        for term, by_language in (readings or {}).items():
            checked = _check(term, "glossary term", MAX_TERM_CHARACTERS)
            unknown = sorted(set(by_language) - set(LANGUAGES))
            if unknown or not by_language:
                raise ValueError(
                    f"glossary term {term!r} has readings for {unknown or 'no language'}; "
                    f"allowed: {', '.join(LANGUAGES)}"
                )
            self._terms[checked.casefold()] = checked
            self._readings.setdefault(checked.casefold(), {}).update(
                {
                    language: _check(reading, f"reading of glossary term {term!r}", MAX_READING_CHARACTERS)
                    for language, reading in by_language.items()
                }
            )
        if len(self._terms) > MAX_TERMS:
            raise ValueError(f"the glossary has {len(self._terms)} terms; at most {MAX_TERMS} are allowed")
        self._patterns = {language: self._compile(language) for language in LANGUAGES}

    @classmethod
    def parse(cls, lines: str | Iterable[str]) -> "Glossary":
        """A glossary from "term=reading" lines; the reading serves every language. Skips blank lines."""
        if isinstance(lines, str):
            lines = lines.splitlines()
        readings: dict[str, dict[str, str]] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            term, equals, reading = line.partition("=")
            if not (equals and term.strip() and reading.strip()):
                raise ValueError(f"glossary line {number} is {line.strip()[:40]!r}; it must be term=reading")
            readings[term.strip()] = dict.fromkeys(LANGUAGES, reading.strip())
        return cls(readings)

    @classmethod
    def from_mapping(cls, entries: Mapping[str, str | Mapping[str, str]] | None) -> "Glossary":
        """A glossary from the published form: term -> reading, or term -> {zh: reading, en: reading}."""
        if entries is not None and not isinstance(entries, Mapping):
            raise ValueError(f"a glossary is a mapping of terms to readings, not a {type(entries).__name__}")
        readings: dict[str, dict[str, str]] = {}
        for term, reading in (entries or {}).items():
            if not isinstance(reading, str | Mapping):
                raise ValueError(
                    f"glossary term {term!r} reads {reading!r}; it must be text, or zh: and en: texts"
                )
            readings[term] = dict.fromkeys(LANGUAGES, reading) if isinstance(reading, str) else dict(reading)
        return cls(readings)

    @classmethod
    def from_file(cls, path: str | Path) -> "Glossary":
        """A glossary from a published `glossary.yaml`."""
        path = Path(path)
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"cannot read the glossary {path.name}: {str(error).splitlines()[0]}") from error
        return cls.from_mapping(entries)

    def merged(self, other: "Glossary") -> "Glossary":
        """This glossary with the readings of `other` over its own."""
        readings = {term: dict(self._readings[key]) for key, term in self._terms.items()}
        for key, term in other._terms.items():
            readings.setdefault(self._terms.get(key, term), {}).update(other._readings[key])
        return Glossary(readings)

    def __len__(self) -> int:
        return len(self._readings)

    def find(self, text: str, language: str) -> Iterator[tuple[int, int, str]]:
        """Each term in `text`: its start, its end and its reading."""
        pattern = self._patterns[language]
        if pattern is None:
            return
        for match in pattern.finditer(text):
            # The expression folds a few letters (ı, ſ) further than casefold does: those stay as they are.
            reading = self._readings.get(match[0].casefold(), {}).get(language)
            if reading is not None:
                yield match.start(), match.end(), reading

    def replace(self, text: str, language: str, replace: Callable[[str], str]) -> str:
        """`text` with each term replaced by `replace(reading)`."""
        parts, last = [], 0
        for start, end, reading in self.find(text, language):
            parts += [text[last:start], replace(reading)]
            last = end
        return "".join([*parts, text[last:]])

    def _compile(self, language: str) -> re.Pattern[str] | None:
        spoken = [term for key, term in self._terms.items() if language in self._readings[key]]
        if not spoken:
            return None
        spoken.sort(key=len, reverse=True)
        return re.compile("|".join(map(_bounded, spoken)), re.IGNORECASE)


def _bounded(term: str) -> str:
    before = r"(?<![A-Za-z0-9])" if re.match(r"[A-Za-z0-9]", term) else ""
    after = r"(?![A-Za-z0-9])" if re.match(r"[A-Za-z0-9]", term[-1]) else ""
    return before + re.escape(term) + after


def _check(text: object, what: str, limit: int) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{what} is {text!r}; it must be text (in YAML, quote it)")
    if len(text) > limit:
        raise ValueError(f"{what} has {len(text)} characters; at most {limit} are allowed")
    cleaned = map_before(clean(text))
    if not cleaned:
        raise ValueError(f"{what} is {text!r}; it must hold something to read")
    return cleaned
