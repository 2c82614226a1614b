"""Written forms: the numbers, dates, units, codes and signs of a text, found by rules and read in its language.

A language is a tuple of rules, tried in order: the first that matches has the text. To add a language, write its
rules and name them here; to add a kind, add its rule to the file that it belongs to.
"""

from pipeline.text.written import (
    addresses,
    arabic,
    dates,
    digits,
    japanese,
    numbers,
    quantities,
    relations,
    signs,
    spanish,
    times,
)
from pipeline.text.written.contractions import CONTRACTIONS
from pipeline.text.written.rule import Rule

_YEAR_EN = tuple(rule for rule in dates.ENGLISH if rule.kind == "year")
_DECADES_EN = tuple(rule for rule in dates.ENGLISH if rule.kind == "decade")
_DATES_EN = tuple(rule for rule in dates.ENGLISH if rule.kind == "date")
_RESOLUTION_EN = tuple(rule for rule in relations.ENGLISH if rule.kind == "resolution")
_SCORE_ZH = tuple(rule for rule in relations.CHINESE if rule.kind == "score")
_RELATIONS_ZH = tuple(rule for rule in relations.CHINESE if rule.kind != "score")

RULES: dict[str, tuple[Rule, ...]] = {
    "en": (
        *digits.LONG_ENGLISH, *numbers.SCIENTIFIC_ENGLISH, *addresses.ENGLISH, *_DATES_EN, *times.ENGLISH,
        *_DECADES_EN, *digits.ENGLISH, *signs.MINUS_ENGLISH,
        *_RESOLUTION_EN, *quantities.ENGLISH,
        *signs.EARLY_ENGLISH, *_YEAR_EN, *numbers.ROMAN_ENGLISH, *signs.ABBREVIATIONS_ENGLISH,
        *relations.ENGLISH, *numbers.ENGLISH, *signs.LATE_ENGLISH, *signs.OTHER_ENGLISH, *CONTRACTIONS,
    ),
    "zh": (
        *digits.LONG_CHINESE, *numbers.SCIENTIFIC_CHINESE, *addresses.CHINESE, *_SCORE_ZH, *dates.CHINESE, *times.CHINESE,
        *digits.CHINESE, *signs.MINUS_CHINESE,
        *quantities.CHINESE, *signs.EARLY_CHINESE, *_RELATIONS_ZH, *numbers.CHINESE, *signs.LATE_CHINESE,
        *signs.OTHER_CHINESE, *CONTRACTIONS,
    ),
    "es": spanish.RULES,
    "ja": japanese.RULES,
    "ar": arabic.RULES,
}  # fmt: skip
# Between two forms of one of these kinds a dash is "to".
RANGED = frozenset(
    {"percent", "money", "measure", "temperature", "time", "date", "year", "duration", "decade"}
)
TO = {"en": " to ", "zh": "到", "es": " a ", "ja": "から", "ar": " إلى "}
