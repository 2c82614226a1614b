"""Times of day and lengths of time: what is written with colons, or with am and pm."""

import re

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, before, rule

_AFTER_HALF = r" (?:[ECMP][SD]?T|UTC|GMT|BST|CET|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|[A-Z][a-z]+ \d)"
_HALF = rf"(?: ?([AaPp])\.? ?[Mm](?:\.(?! [A-Z])|\.(?={_AFTER_HALF})|(?![A-Za-z])))"


# "4:02.3", "2:03:45", "2:03:45.12"
_LAPSE = r"(?<![\w.,:])(?:(\d{1,2}):)?([0-5]?\d):([0-5]\d(?:\.\d{1,3})?)(?![\w:]|\.\d)"


def _half(letter: str | None) -> str:
    return f" {letter.upper()}M" if letter else ""


def _clock_en(hour: str, minute: str | None, second: str | None, half: str | None) -> str | None:
    if int(hour) > 24 or int(minute or 0) > 59 or int(second or 0) > 59:
        return None
    spoken = english.cardinal(str(int(hour)))
    if minute and int(minute):
        spoken += (" o " if int(minute) < 10 else " ") + english.cardinal(str(int(minute)))
    elif not half and not second:
        spoken += " o'clock"
    if second:
        spoken += f" and {english.cardinal(str(int(second)))} second{'' if int(second) == 1 else 's'}"
    return spoken + _half(half)


_RATIO_WORD = re.compile(
    r"\b(?:ratio|odds|scale|score|scored|won|lost|beat|lead|led|aspect|mix|mixed|dilut\w+|proportion)\b"
)


def _time_en(m: re.Match[str]) -> str | None:
    if not m[4] and _RATIO_WORD.search(before(m, 32)):
        return None
    return _clock_en(m[1], m[2], m[3], m[4])


_LASTED = re.compile(
    r"\b(?:in|took|takes|lasts?|lasted|duration|length|runtime|time of|time was|time is|record|finished|clocked|ran)"
    r"(?: (?:a|an|of|is|was|about|just|only|under|at))?[: ]+$"
)


def _lasted_en(m: re.Match[str]) -> str | None:
    """ "2:03:45" of a race, "4:02.3": hours, minutes and seconds, not a time of day."""
    hours, minutes, seconds = m[1], m[2], m[3]
    if "." not in seconds and not (hours and _LASTED.search(before(m))):
        return None
    amounts = ((hours, "hour"), (minutes, "minute"), (seconds, "second"))
    said = [(_plain_number(amount), unit) for amount, unit in amounts if amount]
    return " ".join(f"{english.number(n)} {unit}{'' if n == '1' else 's'}" for n, unit in said if n != "0")


def _plain_number(amount: str) -> str:
    """ "02.3" -> "2.3"."""
    return (
        amount.lstrip("0").replace(".", "0.", 1)
        if amount.lstrip("0")[:1] == "."
        else amount.lstrip("0") or "0"
    )


def _time_range_en(m: re.Match[str]) -> str | None:
    first, second = _clock_en(m[1], m[2], None, m[3] or "x"), _clock_en(m[4], m[5], None, m[6])
    return f"{first.removesuffix(' XM')} to {second}" if first and second else None


ENGLISH: tuple[Rule, ...] = (
    rule("time", rf"(?<![\w.,:])(\d{{1,2}})(?::(\d\d))?{_HALF}? ?[-~] ?(\d{{1,2}})(?::(\d\d))?{_HALF}", _time_range_en),
    rule("duration", _LAPSE, _lasted_en),
    rule("time", rf"(?<![\w.,:])(\d{{1,2}}):(\d\d)(?::(\d\d))?(?![0-9:]){_HALF}?", _time_en),
    rule("time", rf"(?<![\w.,:])(\d{{1,2}})()(){_HALF}", _time_en),
)  # fmt: skip


# --- Chinese -------------------------------------------------------------------------------------------
def _clock_zh(hour: str, minute: str, second: str | None, half: str | None) -> str | None:
    if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 59:
        return None
    value = int(hour)
    lead = "" if not half else ("上午" if half.lower() == "a" else "下午")
    spoken = lead + ("两" if value == 2 else chinese.number(str(value))) + "点"
    if int(minute) or second:
        spoken += ("零" if int(minute) < 10 and int(minute) else "") + chinese.number(str(int(minute))) + "分"
    if second:
        spoken += chinese.number(str(int(second))) + "秒"
    return spoken


_RATIO_ZH = re.compile(r"(?:比例|比率|配比|比值|按|比分|比|赔率|体积比|性别比)[是为:,，约 ]{0,3}$")


_LASTED_ZH = re.compile(r"(?:时长|用时|耗时|历时|片长|长度|成绩|总长|时间为)[是为约:,，了 ]{0,3}$")


def _lasted_zh(m: re.Match[str]) -> str | None:
    """ "4:02.3", and after a word of duration "1:02:03" and "4:02": hours, minutes and seconds, not a time of day."""
    hours, minutes, seconds = m[1], m[2], m[3]
    if "." not in seconds and not _LASTED_ZH.search(before(m)):
        return None
    spoken, started = "", False
    for amount, unit in ((hours, "小时"), (minutes, "分"), (seconds, "秒")):
        value = _plain_number(amount) if amount else "0"
        if value == "0":
            continue
        zero = "零" if started and float(value) < 10 else ""
        spoken += zero + chinese.count(value, unit if unit == "小时" else "") + unit
        started = True
    return spoken or "零秒"


def _time_zh(m: re.Match[str]) -> str | None:
    if _RATIO_ZH.search(before(m)):
        return None
    return _clock_zh(m[1], m[2], m[3], m[4])


def _half_zh(m: re.Match[str]) -> str | None:
    return _clock_zh(m[1], "00", None, m[2]) if 1 <= int(m[1]) <= 12 else None


CHINESE: tuple[Rule, ...] = (
    rule("duration", _LAPSE.replace(r"[\w.,:]", "[A-Za-z0-9.,:]", 1), _lasted_zh),
    rule("time", rf"(?<![A-Za-z0-9.:])(\d{{1,2}}):(\d\d)(?::(\d\d))?(?![0-9:]){_HALF}?", _time_zh),
    rule("time", rf"(?<![A-Za-z0-9.:])(\d{{1,2}}){_HALF}", _half_zh),
)  # fmt: skip
