"""Figures of judged speech: word errors, naturalness and likeness of many cases, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Case:
    """One sentence in one voice, judged. model: who spoke, a model's name or "teacher".

    similarities: of its Resemblyzer vector with that of each reference, by name; empty without speech
    left_out, said_twice: words, by the recognizer's transcript
    ended: the end of speech was found, in all segments
    real_time_factor: None for the teacher
    """

    model: str
    set: str
    number: int
    text: str
    reference: str
    path: str
    heard: str
    errors: int
    words: int
    left_out: tuple[str, ...]
    said_twice: tuple[str, ...]
    distillmos: float
    dnsmos: float
    similarities: dict[str, float]
    ended: bool
    warnings: tuple[str, ...]
    real_time_factor: float | None

    @property
    def similarity(self) -> float:
        """With its own reference; 0 without speech."""
        return self.similarities.get(self.reference, 0.0)

    @property
    def nearest(self) -> bool:
        """Whether no other reference is nearer."""
        return bool(self.similarities) and max(self.similarities, key=self.similarities.get) == self.reference


@dataclass(frozen=True)
class Figure:
    """A mean, or a rate over all words, and the interval its bootstrap gives."""

    value: float
    low: float
    high: float


# What is measured of a case: (numerator, denominator); the figure is the one's sum over the other's.
MEASURES: dict[str, Callable[[Case], tuple[float, float]]] = {
    "word_error_rate": lambda case: (case.errors, case.words),
    "distillmos": lambda case: (case.distillmos, 1),
    "dnsmos": lambda case: (case.dnsmos, 1),
    "similarity": lambda case: (case.similarity, 1),
    "nearest": lambda case: (case.nearest, 1),
    "ended": lambda case: (case.ended, 1),
    "left_out": lambda case: (bool(case.left_out), 1),
    "said_twice": lambda case: (bool(case.said_twice), 1),
}


def figures(cases: Sequence[Case]) -> dict[str, Figure]:
    """Every measure of some cases. The bootstrap draws sentences, with all the voices they were spoken in:
    cases of the same sentence are not independent. ValueError without cases."""
    if not cases:
        raise ValueError("no cases to take figures of")
    names = sorted({(case.set, case.number) for case in cases})
    row = {name: index for index, name in enumerate(names)}
    draws = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    found = {}
    for measure, parts in MEASURES.items():
        sums = np.zeros((len(names), 2))
        for case in cases:
            sums[row[case.set, case.number]] += parts(case)
        numerators, denominators = sums[draws].sum(axis=1).T
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(numerators / denominators, [tail, 1 - tail])
        value = sums[:, 0].sum() / sums[:, 1].sum()
        found[measure] = Figure(*(round(float(number), 4) for number in (value, low, high)))
    return found


def summary(cases: Sequence[Case]) -> dict[str, dict[str, Figure]]:
    """The figures of all cases, of each set, of each reference, and of each set in each reference."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        for name in ("all", case.set, case.reference, f"{case.set} {case.reference}"):
            groups.setdefault(name, []).append(case)
    order = [
        "all",
        *dict.fromkeys(case.set for case in cases),
        *dict.fromkeys(case.reference for case in cases),
    ]
    return {name: figures(groups[name]) for name in [*order, *(set(groups) - set(order))]}


def table(found: dict[str, dict[str, Figure]], skip: str = " ") -> str:
    """Lines of text, groups downwards; those with `skip` in their name are left to the JSON."""
    width = max(len(name) for name in found) + 2
    lines = ["".ljust(width) + "".join(measure.rjust(21) for measure in MEASURES)]
    for name, values in found.items():
        if skip not in name:
            cells = (f"{one.value:.3f} {one.low:.3f}-{one.high:.3f}" for one in values.values())
            lines.append(name.ljust(width) + "".join(cell.rjust(21) for cell in cells))
    return "\n".join(lines)
