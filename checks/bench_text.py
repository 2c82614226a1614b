"""Speed of reading text: seconds for 20,000 characters, and how that grows to 100,000.

`rows()` gives one row for each text; `python -m checks.bench_text` prints them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.text.normalize import TextNormalizer

CHARACTERS = 20_000
MANY_CHARACTERS = 100_000
TEXTS = {
    "English prose with numbers": (
        "Mr. Fox's 3rd visit cost $5.20 on May 5, 2024 at 5:30 pm, 5-10% more than 3 km/h. "
    ),
    "Chinese prose with numbers": "他在1998年12月31日花了200块钱买了3条裤子，增长5%-10%。",
    "digits": "7",
    "one word": "a",
    "brackets": "[",
    "numbers and hyphens": "1-",
    "asterisks": "*a",
    "signs no kind knows": "∮",
}
_START = """
import time; start = time.perf_counter()
from pipeline.text.normalize import TextNormalizer
TextNormalizer().normalize({text!r})
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Row:
    """seconds: for CHARACTERS; growth: how many times as long MANY_CHARACTERS take (5 is linear)."""

    text: str
    seconds: float
    growth: float | None = None


def rows() -> list[Row]:
    normalizer = TextNormalizer()
    normalizer.warm_up()
    measured = [
        Row(f"first words from nothing ({language})", _cold(text))
        for language, text in (("en", "I have 5."), ("zh", "我有5个。"))
    ]
    for name, unit in TEXTS.items():
        seconds, many = (_seconds(normalizer, unit, size) for size in (CHARACTERS, MANY_CHARACTERS))
        measured.append(Row(name, seconds, many / seconds))
    return measured


def _seconds(normalizer: TextNormalizer, unit: str, size: int) -> float:
    text = (unit * size)[:size]
    start = time.perf_counter()
    normalizer.normalize(text)
    return time.perf_counter() - start


def _cold(text: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _START.format(text=text)],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    for row in rows():
        growth = "" if row.growth is None else f"   x{row.growth:.1f} for 5 times the text"
        print(f"{row.text:<36} {row.seconds:6.2f} s{growth}")


if __name__ == "__main__":
    main()
