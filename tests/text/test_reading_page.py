"""docs/reading.md says what the rules do: every kind, every example, every count."""

import re

import pytest

from pipeline.text.written.rules import RULES
from pipeline.text.written.signs import ABBREVIATIONS, SIGNS
from pipeline.text.written.units import CURRENCIES, UNITS
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[1:]
    for cells in re.findall(r"^\| ([a-z -]+) \| (.*?) ?\| (.*?) ?\|$", PAGE, re.M)
    if cells[0] != "kind"
}
EXAMPLES = [
    pytest.param(language, *re.fullmatch(r"`(.*)` → (.*)", cell).groups(), id=f"{kind}-{language}")
    for kind, cells in ROWS.items()
    for language, cell in zip(("en", "zh"), cells, strict=True)
    if cell
]


def kinds(language: str) -> set[str]:
    return {rule.kind for rule in RULES[language]} | ({"pinyin"} if language == "zh" else set())


def test_every_kind_has_a_row():
    for index, language in enumerate(("en", "zh")):
        assert {kind for kind, cells in ROWS.items() if cells[index]} == kinds(language)


@pytest.mark.parametrize(("language", "written", "spoken"), EXAMPLES)
def test_examples(normalizer, language, written, spoken):
    assert normalizer.normalize(written, language) == spoken


def test_counts():
    stated = re.search(
        r"^(\d+) kinds, (\d+) units of measure, (\d+) currencies, (\d+) signs, (\d+) English abb", PAGE, re.M
    )
    counts = (len(kinds("en") | kinds("zh")), len(UNITS), len(CURRENCIES), len(SIGNS), ABBREVIATIONS)
    assert tuple(map(int, stated.groups())) == counts


def test_no_unit_is_written_like_another():
    spellings = [spelling for unit in UNITS for spelling in unit.written]
    assert len(spellings) == len(set(spellings))
