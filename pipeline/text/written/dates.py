"""Dates, years and decades."""

import re

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, after, before, rule

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")  # fmt: skip
_MONTH_OF = {name[:length]: index for index, name in enumerate(_MONTHS) for length in (3, 4, len(name))}
_MONTH_OF["sept"] = 8
_MONTH = r"(January|February|March|April|May|June|July|August|September|October|November|December|" \
         r"(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?:\.|(?![a-z])))"  # fmt: skip
_DAY = r"(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?![A-Za-z0-9:]|[.,]\d)"
_YEAR = r"(1\d{3}|20\d\d)(?![0-9A-Za-z]|[.,]\d)"


def _month(name: str) -> str:
    return _MONTHS[_MONTH_OF[name.lower().rstrip(".")]]


def _date_en(day: str, month: str, year: str | None, comma: bool = False, before_it: str = "") -> str:
    spoken = f"{'' if before_it.endswith('the ') else 'the '}{english.ordinal(day)} of {month}"
    return spoken + (("," if comma else "") + " " + english.year(year) if year else "")


def _month_day(m: re.Match[str]) -> str:
    return _date_en(m[2], _month(m[1]), m[3], comma="," in m[0], before_it=before(m))


def _month_days(m: re.Match[str]) -> str:
    days = f"the {english.ordinal(m[2])} to the {english.ordinal(m[3])} of {_month(m[1])}"
    return days + (f", {english.year(m[4])}" if m[4] else "")


def _day_month(m: re.Match[str]) -> str | None:
    if m[2].lower() == "may" and re.match(r" (?:be|not|have|well)\b", after(m)):
        return None
    return _date_en(m[1], _month(m[2]), m[3], before_it=before(m))


def _valid(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _iso_en(m: re.Match[str]) -> str | None:
    return _date_en(m[4], _MONTHS[int(m[3]) - 1], m[1], before_it=before(m)) if _valid(m[3], m[4]) else None


def _slashed_en(m: re.Match[str]) -> str | None:
    month, day = (m[1], m[3]) if int(m[1]) <= 12 else (m[3], m[1])
    if not _valid(month, day):
        return None
    year = m[4] if len(m[4]) == 4 else ("20" if int(m[4]) < 50 else "19") + m[4]
    return _date_en(day, _MONTHS[int(month) - 1], year, before_it=before(m))


_DATE_WORD = re.compile(
    r"\b(?:on|by|due|until|till|since|before|after|dated?|from|to|between|deadline|birthday|expires)[: ]+$"
)


def _short_slashed_en(m: re.Match[str]) -> str | None:
    if (
        not _valid(m[1], m[2])
        or (m[1], m[2]) in (("1", "2"), ("9", "11"))
        or not _DATE_WORD.search(before(m))
    ):
        return None
    return _date_en(m[2], _MONTHS[int(m[1]) - 1], None)


# A year beside one of these; without them, 4 digits are a year in 1900-2099 unless a count follows.
_YEAR_WORD = re.compile(r"\b(?:in|since|by|from|until|till|year|years|before|after|during|circa|ca\.|c\.|of|around|between|"
                        r"early|late|mid|spring|summer|autumn|fall|winter|and|to|©|copyright|\w+ber|march|april|may|june|"
                        r"july|august|january|february|class of|born|died|est\.|founded)[ '-]*$")  # fmt: skip
_COUNTED = re.compile(r" (?:(?:more|other|new|different|small|large|red|green|old|young|extra|free|good|big|little|active|"
                      r"total|local|human) )?(?:(?!was\b|is\b|has\b|this\b|as\b|its\b|his\b|us\b|yes\b|does\b|always\b|"
                      r"perhaps\b|across\b|versus\b|thus\b|plus\b|unless\b|across\b|towards\b|news\b|olympics\b|"
                      r"elections?\b)[a-z]{2,}s\b|people\b|men\b|women\b|children\b|percent\b|feet\b|"
                      r"dollars\b|sheep\b|fish\b|times\b|euros\b|miles\b|of (?:them|us|these|those|the)\b|"
                      r"(?:kg|km|cm|mm|mb|gb|ml|mg)\b)")  # fmt: skip
_SOLID_YEARS = (1900, 2099)
_YEARS = (1001, 2199)


def is_year_en(digits: str, lead: str, rest: str) -> bool:
    value = int(digits)
    if not _YEARS[0] <= value <= _YEARS[1] or _COUNTED.match(rest):
        return False
    return _SOLID_YEARS[0] <= value <= _SOLID_YEARS[1] or bool(_YEAR_WORD.search(lead))


def _year_en(m: re.Match[str]) -> str | None:
    return english.year(m[0]) if is_year_en(m[0], before(m), after(m, 32)) else None


def _year_range_en(m: re.Match[str]) -> str | None:
    second = m[2] if len(m[2]) == 4 else m[1][:2] + m[2]
    if not (_YEARS[0] <= int(m[1]) < int(second) <= _YEARS[1]) or _COUNTED.match(after(m, 32)):
        return None
    return f"{english.year(m[1])} to {english.year(m[2]) if len(m[2]) == 4 else english.cardinal(m[2])}"


def _season_en(m: re.Match[str]) -> str | None:
    """ "2019/20": a season or financial year, whose second year follows the first."""
    if int(m[2]) != (int(m[1]) + 1) % 100:
        return None
    return f"{english.year(m[1])} to {english.cardinal(m[2].lstrip('0') or '0')}"


_DECADE_WORD = re.compile(
    r"\b(?:the|early|late|mid|my|your|his|her|their|our|roaring|swinging)[ -]+(?:early |late |mid |roaring )?(?:mid-)?$"
)
_DECADE_AFTER = re.compile(r" (?:music|style|fashion|rock|pop|movies?|hits?|films?|era|vibes?|kids?|songs?|disco|cartoons?|"
                           r"nostalgia|show|band|classic)\b")  # fmt: skip


def _decade_en(m: re.Match[str]) -> str | None:
    if m[1] or _DECADE_WORD.search(before(m)) or _DECADE_AFTER.match(after(m)):
        return english.decade(m[2])
    return None


ENGLISH: tuple[Rule, ...] = (
    rule("date", r"(?<![\w.,-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![\w-]|[.,]\d)", _iso_en),
    rule("date", r"(?<![\w.,/-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d(?<=/\d\d))(?![\w/-]|[.,]\d)", _slashed_en),
    rule("date", r"(?<![\w.,/-])(\d{1,2})/(\d{1,2})(?![\w/%-]|[.,]\d)", _short_slashed_en),
    rule("date", rf"(?<![A-Za-z]){_MONTH} (\d{{1,2}})(?:st|nd|rd|th)? ?- ?(\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,? {_YEAR})?",
         _month_days, re.IGNORECASE),
    rule("date", rf"(?<![A-Za-z]){_MONTH} {_DAY}(?:,? {_YEAR})?", _month_day),
    rule("date", rf"(?<![\w.,:/-]){_DAY}(?: of)? {_MONTH}(?![A-Za-z])(?:,? {_YEAR})?", _day_month),
    rule("decade", r"(?<![\w.,])(?<!\d-)(')?(\d0)'?s(?![A-Za-z])", _decade_en),
    rule("decade", r"(?<![\w.,$])(?<!\d-)((?:1\d|20)\d0)'?s(?![A-Za-z])", lambda m: english.decade(m[1])),
    rule("year", r"(?<![\w.,:/$€£¥#-])(\d{4})(?: ?-{1,2} ?| ?~ ?)(\d{4}|\d\d)(?![\w:/%-]|[.,]\d)", _year_range_en),
    rule("date", r"(?<![\w.,:/$€£¥#-])((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\w:/%-]|[.,]\d)",
         lambda m: f"{_MONTHS[int(m[2]) - 1]} {english.year(m[1])}"),
    rule("date", rf"(?<![A-Za-z])(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.? {_YEAR}",
         lambda m: f"{_month(m[1])} {english.year(m[2])}"),
    rule("year", r"(?<![\w.,:/-])((?:19|20)\d\d)/(\d\d)(?![\w:/%-]|[.,]\d)", _season_en),
    rule("year", r"(?<![\w.,:/$€£¥#\ue000])(?:(?<!-)|(?<=\b(?:pre|mid)-)|(?<=\bpost-))\d{4}(?=Q[1-4]\b|[^\w:/%²³°℃\ue000-]|$)"
         r"(?![.,]\d)", _year_en),
)  # fmt: skip

# --- Chinese -------------------------------------------------------------------------------------------
_DATE_WORD_ZH = re.compile(r"(?:日期|时间|有效期|活动期?|截至|截止|假期|放假|营业|档期|展期|报名|期限|从|自|于|在|生日|国庆|元旦|春节)"
                           r"(?:间|是|为|至|到|期|:|,|，| ){0,3}$")  # fmt: skip


_DATE_AFTER_ZH = re.compile(
    r"^[ ,，]?(?:放假|假期|期间|活动|休|促销|国庆|春节|有效|截止|开放|营业|报名|优惠|举行|举办|展出|上映)"
)


def _day_zh(month: str, day: str) -> str:
    return f"{chinese.number(_short(month))}月{chinese.number(_short(day))}日"


def _short(digits: str) -> str:
    return str(int(digits))


def _date_zh(m: re.Match[str]) -> str | None:
    return f"{chinese.spell(m[1])}年{_day_zh(m[3], m[4])}" if _valid(m[3], m[4]) else None


def _dotted_zh(m: re.Match[str]) -> str | None:
    beside = _DATE_WORD_ZH.search(before(m)) or _DATE_AFTER_ZH.match(after(m, 8))
    if not beside or not (_valid(m[1], m[2]) and _valid(m[3], m[4])):
        return None
    return f"{_day_zh(m[1], m[2])}到{_day_zh(m[3], m[4])}"


_DAY_WORD_ZH = re.compile(r"(?:日期|有效期|截至|截止|生日|国庆节?|元旦|春节|中秋节?|端午节?|双十[一二]|双1[12]|放假时间|活动时间)"
                          r"(?:是|为|至|到|:|,|，| ){0,3}$")  # fmt: skip


def _dotted_day_zh(m: re.Match[str]) -> str | None:
    return _day_zh(m[1], m[2]) if _valid(m[1], m[2]) and _DAY_WORD_ZH.search(before(m)) else None


def _short_year_zh(m: re.Match[str]) -> str | None:
    counted = re.search(r"[了过近约共满达第有整前后长仅才]$", before(m))
    return None if counted else chinese.spell(m[1]) + "年"


def _year_range_zh(m: re.Match[str]) -> str | None:
    second = m[2] if len(m[2]) == 4 else m[1][:2] + m[2]
    if not (1000 <= int(m[1]) < int(second) <= 2199):
        return None
    return f"{chinese.spell(m[1])}到{chinese.spell(m[2])}"


def _row_zh(m: re.Match[str]) -> str:
    parts = [
        chinese.number(_short(part)) if part.isdigit() else "到" for part in re.findall(r"\d+|\D+", m[0])
    ]
    return "".join(parts)


def _month_zh(m: re.Match[str]) -> str:
    # "01月" keeps its zero: 零一月
    return (
        "".join(("零" if len(d) == 2 and d[0] == "0" else "") + chinese.number(_short(d)) for d in [m[1]])
        + "月"
    )


CHINESE: tuple[Rule, ...] = (
    rule("date", r"(?<![A-Za-z0-9.])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![0-9]|-(?!\d{4}[/.])|\.\d)", _date_zh),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})\.(\d{1,2})(?:-{1,2}|~|至|到)(\d{1,2})\.(\d{1,2})(?![0-9%]|\.\d)", _dotted_zh),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})/(\d{1,2})(?=[^0-9/]|$)",
         lambda m: _day_zh(m[1], m[2]) if _valid(m[1], m[2]) and _DATE_WORD_ZH.search(before(m)) else None),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})\.(\d{1,2})(?=[日号])",
         lambda m: _day_zh(m[1], m[2])[:-1] if _valid(m[1], m[2]) else None),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})\.(\d{1,2})(?=假期|放假|国庆|黄金周|劳动节|女神节|大促|购物节)",
         lambda m: _day_zh(m[1], m[2]) if _valid(m[1], m[2]) else None),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})\.(\d{1,2})(?![0-9%\ue000]|\.\d| ?[万亿千百元倍米度分个次岁]|[A-Za-z])",
         _dotted_day_zh),
    rule("date", r"(?<![0-9])(\d{1,2})[·•](\d{1,2})(?![0-9])",
         lambda m: chinese.spell(m[1] + m[2]) if _valid(m[1], m[2]) else None),
    rule("decade", r"(?<![0-9.])([5-9][05]|[01][05])(?= ?后(?![天来面退续期悔台备勤果腿门卫代方背排续]))", lambda m: chinese.spell(m[1])),
    rule("year", r"(?<![\w'])'(\d\d)(?=年|级|届)", lambda m: chinese.spell(m[1])),
    rule("date", r"(?<=[周期][一二三四五六日天]) ?(?:-{1,2}|~) ?(?=[周星])", "到"),
    rule("date", r"(?<=[年月日号时点分]) ?(?:-{1,2}|~) ?(?=\d)", "到"),
    rule("range", r"(?<=[一二两三四五六七八九十百千万]) ?[-~] ?(?=[一二两三四五六七八九十])", "到"),
    rule("year", r"(?<![A-Za-z0-9.])(\d{4})(?: ?-{1,2} ?| ?~ ?|年?[至到]|年 ?[-~] ?)(\d{4}|\d\d)"
         r"(?= ?(?:年|学年|赛季|财年|年度|期间|之间|[')，。；,;]|\.(?!\d)|$))",
         _year_range_zh),
    rule("year", r"(?<![A-Za-z0-9.])(\d{4})(?= ?(?:年|级(?!台阶)|届|Q[1-4]))", lambda m: chinese.spell(m[1])),
    rule("year", r"(?<![A-Za-z0-9.])([7-9][1-9]|0\d)年(?!级|代)", _short_year_zh),
    rule("date", r"(?<![A-Za-z0-9.])\d{1,2}(?: ?-{1,2} ?| ?~ ?|[至到])\d{1,2}(?=[月日号](?!线))", _row_zh),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})月", _month_zh),
    rule("date", r"(?<=[月\ue000])(\d{1,2})(?=[日号])",
         lambda m: ("零" if m[1][0] == "0" else "") + chinese.number(_short(m[1]))),
)  # fmt: skip
