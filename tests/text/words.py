"""Number words made from small tables, independently of the code under test."""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
NTH = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
       "twelve": "twelfth"}  # fmt: skip
HAN = "零一二三四五六七八九"


def english(n: int) -> str:
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (f" {ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" and {english(n % 100)}" if n % 100 else "")
    for value, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand")):
        if n >= value:
            rest = n % value
            joint = " and " if rest < 100 else " "
            return f"{english(n // value)} {name}" + (f"{joint}{english(rest)}" if rest else "")
    raise AssertionError(n)


def nth(n: int) -> str:
    *lead, last = english(n).split()
    ordinal = NTH.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*lead, ordinal])


def pair(n: int) -> str:
    """A year in two halves: 1984, 2024; 1905; 1900."""
    high, low = divmod(n, 100)
    if 2000 <= n < 2010:
        return "two thousand" + (f" {ONES[low]}" if low else "")
    if low == 0:
        return f"{english(high)} hundred"
    return f"{english(high)} {'oh ' if low < 10 else ''}{english(low)}"


def spell(digits: str) -> str:
    return " ".join(ONES[int(d)] for d in digits if d.isdigit())


def han(n: int) -> str:
    """Chinese: 十 for a leading 一十, 两 for a leading 二 of hundreds and more."""
    text = _han(n)
    text = text[1:] if text.startswith("一十") else text
    return "两" + text[1:] if text[0] == "二" and text[1:2] in tuple("百千万亿") else text


def _han(n: int) -> str:
    if n < 10:
        return HAN[n]
    for value, name in ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if n >= value:
            rest = n % value
            return (
                _han(n // value) + name + (("零" if rest < value // 10 else "") + _han(rest) if rest else "")
            )
    raise AssertionError(n)


def han_spell(digits: str) -> str:
    return "".join(HAN[int(d)] for d in digits if d.isdigit())
