"""What a written form is, and how the forms of a text are found."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

CLAIMED = "\ue000"  # private use: cleaning removes it from every input
# A number, with thousands commas and a decimal part; not inside a longer one or a word.
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
START = r"(?<![A-Za-z0-9_])(?<![0-9][.,/])"
END = r"(?![0-9]|[.,][0-9])"
DASH = r" ?(?:-{1,2}|~) ?"
_MACROS = {"<N>": f"({NUMBER})", "<S>": START, "<E>": END, "<->": DASH}


@dataclass(frozen=True)
class Rule:
    """One written form: its kind, its look, and how a match reads (None: it is not this form after all)."""

    kind: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], str | None]


@dataclass(frozen=True)
class Form:
    """A written form found in a text, from `start` to `end`, and its reading."""

    start: int
    end: int
    kind: str
    spoken: str


def rule(kind: str, pattern: str, read: Callable[[re.Match[str]], str | None] | str, flags: int = 0) -> Rule:
    """A Rule of `pattern`, in which <N> is a number, <S> and <E> its bounds and <-> the dash of a range."""
    for macro, expression in _MACROS.items():
        pattern = pattern.replace(macro, expression)
    spoken = read
    function = (lambda match: spoken) if isinstance(spoken, str) else spoken
    return Rule(kind, re.compile(pattern, flags | re.ASCII), function)


def alternatives(words: Iterable[str]) -> str:
    """A regular expression of any of `words`, longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def find_forms(text: str, rules: Iterable[Rule]) -> list[Form]:
    """The forms of `text` in order; where rules overlap, the first of them has it."""
    forms: list[Form] = []
    for each in rules:
        found = []
        for match in each.pattern.finditer(text):
            spoken = each.read(match)
            if spoken is not None and match.end() > match.start():
                found.append(Form(match.start(), match.end(), each.kind, spoken))
        if found:
            forms += found
            text = masked(text, found)
    return sorted(forms, key=lambda form: form.start)


def masked(text: str, forms: list[Form]) -> str:
    """`text` with its forms blotted out, its length kept."""
    parts, last = [], 0
    for form in forms:
        parts += [text[last : form.start], CLAIMED * (form.end - form.start)]
        last = form.end
    return "".join([*parts, text[last:]])


def before(match: re.Match[str], characters: int = 24) -> str:
    """What stands before `match`, in lower case."""
    return match.string[max(0, match.start() - characters) : match.start()].lower()


def after(match: re.Match[str], characters: int = 24) -> str:
    """What stands after `match`, in lower case."""
    return match.string[match.end() : match.end() + characters].lower()
