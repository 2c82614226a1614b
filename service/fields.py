"""How a field of a request is declared, once: its default, and the check every value of it is held to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol


class Check(Protocol):
    def check(self, name: str, value: Any) -> Any:
        """`value` as the field's type. Raises ValueError saying what is allowed."""


@dataclass(frozen=True)
class Number:
    """A number's kind and closed range."""

    kind: type
    low: float
    high: float

    def check(self, name: str, value: Any) -> int | float:
        allowed = f"allowed: {'a whole number' if self.kind is int else 'a number'} from {self.low:g} to {self.high:g}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} is not a number; {allowed}")
        if self.kind is int and value != int(value):
            raise ValueError(f"{name} is {value:g}; {allowed}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{name} is {value:g}; {allowed}")
        return self.kind(value)


@dataclass(frozen=True)
class Choice:
    values: tuple

    def check(self, name: str, value: Any) -> Any:
        if isinstance(value, bool) or value not in self.values:
            raise ValueError(f"{name} is {str(value)[:40]!r}; allowed: {', '.join(map(str, self.values))}")
        return value


@dataclass(frozen=True)
class Switch:
    def check(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {str(value)[:40]!r}; allowed: true, false")
        return value


@dataclass(frozen=True)
class Words:
    def check(self, name: str, value: Any) -> str | None:
        """Without white space around it; None for nothing."""
        if not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
        return value.strip() or None


def number(kind: type, low: float, high: float, default: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"check": Number(kind, low, high)})


def choice(values: tuple, default: object = None) -> Any:
    return dataclasses.field(default=default, metadata={"check": Choice(values)})


def switch(default: bool) -> Any:
    return dataclasses.field(default=default, metadata={"check": Switch()})


def words() -> Any:
    return dataclasses.field(default=None, metadata={"check": Words()})


def checks_of(kind: type, of: type = object) -> dict[str, Any]:
    """The declared checks of a request class by field name; only those of the class `of`."""
    return {
        field.name: field.metadata["check"]
        for field in dataclasses.fields(kind)
        if isinstance(field.metadata.get("check"), of) and "check" in field.metadata
    }


def from_text(kind: type, name: str, text: str) -> Any:
    """The value of a field of a request class as a command line or a table of texts has it; it is not checked
    further.

    Raises ValueError for a text that cannot be one."""
    check = checks_of(kind).get(name)
    if isinstance(check, Number):
        try:
            return check.kind(text)
        except ValueError as e:
            raise ValueError(f"{name} is {text[:40]!r}, not a number") from e
    if isinstance(check, Switch):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} is {text[:40]!r}; allowed: true, false")
        return text.lower() == "true"
    if isinstance(check, Choice):
        return next((value for value in check.values if str(value) == text), text)
    return text


def checked_values(request: Any) -> dict[str, Any]:
    """Every field's value, of its kind and in its range; None is the field's default.

    Raises ValueError for the first field that is not."""
    values = {}
    for field in dataclasses.fields(request):
        value = getattr(request, field.name)
        if value is None and field.default is not dataclasses.MISSING:
            value = field.default
        if value is not None and "check" in field.metadata:
            value = field.metadata["check"].check(field.name, value)
        values[field.name] = value
    return values
