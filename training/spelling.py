"""Numbers, dates and times as English words, the way a reader says them."""

import random

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((1_000_000, "million"), (1_000, "thousand"))
IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
LARGEST = 1_000_000_000


def cardinal(number: int) -> str:
    """`1205` → "one thousand two hundred and five". Accepts 0 to 999,999,999, else ValueError."""
    if not 0 <= number < LARGEST:
        raise ValueError(f"number {number} is outside 0 to {LARGEST - 1}")
    for size, name in SCALES:
        if number >= size:
            rest = number % size
            joint = " and " if 0 < rest < 100 else " "
            return f"{cardinal(number // size)} {name}" + (joint + cardinal(rest) if rest else "")
    if number >= 100:
        rest = number % 100
        return f"{ONES[number // 100]} hundred" + (f" and {cardinal(rest)}" if rest else "")
    if number >= 20:
        return TENS[number // 10 - 1] + (f" {ONES[number % 10]}" if number % 10 else "")
    return ONES[number]


def ordinal(number: int) -> str:
    """`21` → "twenty first"."""
    *head, last = cardinal(number).split()
    if last in IRREGULAR_ORDINALS:
        last = IRREGULAR_ORDINALS[last]
    else:
        last = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*head, last])


def year(number: int) -> str:
    """`1984` → "nineteen eighty four", `1905` → "nineteen oh five", `2003` → "two thousand and three"."""
    century, rest = divmod(number, 100)
    if century % 10 == 0:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' + ONES[rest] if rest < 10 else cardinal(rest)}"


def clock(rng: random.Random) -> str:
    """A time of day, in one of the ways people say it."""
    hour, minute = rng.randint(1, 12), rng.choice((5, 10, 15, 20, 25, 40, 45, 50, rng.randint(11, 59)))
    return rng.choice(
        (
            f"{ONES[hour]} o'clock",
            f"half past {ONES[hour]}",
            f"quarter to {ONES[hour]}",
            f"quarter past {ONES[hour]}",
            f"{ONES[hour]} {cardinal(minute) if minute > 9 else 'oh ' + ONES[minute]}",
            f"{cardinal(minute)} minutes past {ONES[hour]}",
            f"{ONES[hour]} thirty in the morning",
        )
    )


def date(rng: random.Random) -> str:
    """A day of the year, in one of the ways people say it."""
    month, day = rng.choice(MONTHS), ordinal(rng.randint(1, 31))
    return rng.choice(
        (
            f"{month} {day}",
            f"the {day} of {month}",
            f"{rng.choice(WEEKDAYS)}, {month} {day}",
            f"{month} {day}, {year(rng.randint(1700, 2039))}",
            rng.choice(WEEKDAYS),
        )
    )


def money(rng: random.Random) -> str:
    """An amount of money."""
    dollars, cents = rng.choice((rng.randint(2, 99), 100 * rng.randint(1, 99))), rng.randint(2, 99)
    return rng.choice(
        (
            f"{cardinal(dollars)} dollars",
            f"{cardinal(dollars)} euros",
            f"{cardinal(cents)} cents",
            f"{cardinal(dollars)} dollars and {cardinal(cents)} cents",
            f"{cardinal(dollars)} pounds",
        )
    )


def digits(rng: random.Random) -> str:
    """Seven digits, said one by one."""
    said = [rng.choice(ONES[:10]) for _ in range(7)]
    return " ".join(said[:3]) + ", " + " ".join(said[3:])
