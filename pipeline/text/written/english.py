"""Number words of English."""

import functools

from num2words import num2words

LONGEST_CARDINAL = 15  # digits; what is longer is read digit by digit
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FRACTIONS = {2: "half", 4: "quarter"}


@functools.lru_cache(4096)
def cardinal(digits: str) -> str:
    """ "1,234" -> "one thousand two hundred and thirty four"; leading zeros and long numbers digit by digit."""
    digits = digits.replace(",", "")
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > LONGEST_CARDINAL:
        return spell(digits)
    return _plain(num2words(int(digits)))


def number(written: str) -> str:
    """ "3.25" -> "three point two five"; without a point as `cardinal`."""
    whole, point, decimals = written.partition(".")
    return cardinal(whole or "0") + (f" point {spell(decimals)}" if point and decimals else "")


@functools.lru_cache(4096)
def ordinal(digits: str) -> str:
    """ "21" -> "twenty first"."""
    digits = digits.replace(",", "").lstrip("0") or "0"
    return _plain(num2words(int(digits), to="ordinal")) if len(digits) <= LONGEST_CARDINAL else spell(digits)


def spell(digits: str) -> str:
    """ "105" -> "one zero five"; what is no digit is left out."""
    return " ".join(DIGITS[int(c)] for c in digits if c.isdigit())


def year(digits: str) -> str:
    """ "1905" -> "nineteen oh five", "2000" -> "two thousand", "2024" -> "twenty twenty four"."""
    value = int(digits)
    century, rest = divmod(value, 100)
    if len(digits) != 4 or century % 10 == 0 and rest < 10:
        return (
            f"{cardinal(digits[0])} thousand {cardinal(str(rest))}"
            if value > 2000 and rest
            else cardinal(digits)
        )
    if rest == 0:
        return f"{cardinal(str(century))} hundred"
    return f"{cardinal(str(century))} {'oh ' if rest < 10 else ''}{cardinal(str(rest))}"


def decade(digits: str) -> str:
    """ "1990" -> "nineteen nineties", "90" -> "nineties", "2000" -> "two thousands", "1800" -> "eighteen hundreds"."""
    if len(digits) == 4 and digits[2:] != "00":
        return f"{cardinal(digits[:2])} {plural(cardinal(digits[2:]))}"
    return plural(year(digits))


def plural(word: str) -> str:
    """ "twenty" -> "twenties", "six" -> "sixes"."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")


def fraction(numerator: str, denominator: str) -> str:
    """ "3", "4" -> "three quarters"."""
    name = _FRACTIONS.get(int(denominator)) or ordinal(denominator)
    if numerator != "1":
        name = "halves" if name == "half" else name + "s"
    return f"{cardinal(numerator)} {name}"


def _plain(words: str) -> str:
    return words.replace(",", "").replace("-", " ")
