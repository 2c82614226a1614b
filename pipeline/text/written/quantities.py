"""Percent, money, measures and durations: an amount, or a range of two, and what it is of."""

import re
from decimal import Decimal

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, after, before, rule
from pipeline.text.written.units import BY_SIGN, BY_SYMBOL, PER, PER_UNIT, SIGN, UNIT

_POWERS = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12, "tn": 10**12}
_POWER_WORDS = {10**3: "thousand", 10**6: "million", 10**9: "billion", 10**12: "trillion"}
_SHORT = r"(?:(?P<power>[KkMmBbTt]|bn|mn|tn|Bn|Mn)(?![A-Za-z0-9]))"
_BIG = r"(?: ?(?P<word>thousand|million|billion|trillion|hundred)(?![A-Za-z]))"
_SIGNS = {"-": "minus ", "+": "plus ", "": ""}
_SIGNS_ZH = {"-": "负", "+": "正", "": ""}


# --- English -------------------------------------------------------------------------------------------
def _amounts_en(first: str, second: str | None) -> str:
    return english.number(first) + (f" to {english.number(second)}" if second else "")


def _pair_en(m: re.Match[str]) -> str:
    below = "minus " if m["second"] and m["below"] else ""
    return english.number(m["first"]) + (f" to {below}{english.number(m['second'])}" if m["second"] else "")


def _percent_en(m: re.Match[str]) -> str:
    name = {"‰": " per mille", "%": " percent"}[m["sign"]]
    return _SIGNS[m["minus"] or ""] + _pair_en(m) + name


def _money_en(m: re.Match[str]) -> str:
    currency = BY_SIGN[m["currency"]]
    first, second = _cents_dropped(m["first"]), _cents_dropped(m["second"] or "")
    power = (m["power"] or "").lower()
    word = f" {_POWER_WORDS[_POWERS[power]]}" if power else f" {m['word']}" if m["word"] else ""
    minus = _SIGNS[m["minus"] or ""] if "minus" in m.re.groupindex else ""
    if not word and not second and re.fullmatch(r"0\.\d\d", first) and currency.cents:
        cents = str(int(first[2:]))
        return f"{minus}{english.cardinal(cents)} {currency.cents[cents != '1']}"
    one = (
        first == "1"
        and not word
        and not second
        or bool(re.search(r"(?:^|[^\w])an? $", before(m)))
        and _qualifies(m)
    )
    name = currency.english[0 if one else 1]
    return f"{minus}{_amounts_en(first, second or None)}{word} {name}"


def _cents_dropped(amount: str) -> str:
    amount = "0" + amount if amount.startswith(".") else amount
    return amount[:-3] if amount.endswith(".00") else amount


def _cents_en(m: re.Match[str]) -> str:
    return _amounts_en(m["first"], m["second"]) + (
        " cent" if m["first"] == "1" and not m["second"] else " cents"
    )


_TEMPERATURE = re.compile(r"temperature|degree|oven|heat|cool|hot|cold|weather|warm|boil|freez|fever|bake|celsius|"
                          r"fahrenheit|outside|water|high of|low of|today|tonight|climate|thermostat")  # fmt: skip
_MILLION_AFTER = re.compile(r" (?:users|people|followers|views|subscribers|dollars|downloads|customers|copies|"
                            r"times|parameters|tokens|jobs|homes|euros|pounds|likes|streams|residents|visitors)\b")  # fmt: skip


def _measure_en(m: re.Match[str]) -> str | None:
    unit, symbol = BY_SYMBOL[m["unit"]], m["unit"]
    spaced = m["gap"] == " "
    if spaced and unit.close:
        return None
    if symbol in ("m", "t") and not m["per"] and _MILLION_AFTER.match(after(m, 32)):
        return None
    one = m["first"] == "1" and not m["second"] or m["gap"] == "-" or _qualifies(m)
    spoken = f"{_SIGNS[m['minus'] or '']}{_pair_en(m)} {unit.english[0 if one else 1]}"
    return spoken + (f" per {PER[m['per']][0]}" if m["per"] else "")


_ARTICLE = re.compile(r"(?:^|[^\w])(?:an?|the|this|that|each|every|per|another|one) $")
_NOUN_AFTER = re.compile(r" (?!(?:of|or|and|in|on|at|to|is|was|are|were|for|from|by|per|if|as|so|but|that|which|than|more|less|"
                         r"apart|away|ago|long|wide|high|tall|deep|later|a|an|the|each|every|it|we|he|she|they|i|you)\b)[a-z]")  # fmt: skip


def _qualifies(m: re.Match[str]) -> bool:
    """Whether the amount stands between an article and a noun: "a 1.5L bottle", said in the singular."""
    return bool(_ARTICLE.search(before(m)) and _NOUN_AFTER.match(after(m)))


def _temperature_en(m: re.Match[str]) -> str | None:
    if m["gap"] and not _TEMPERATURE.search(before(m, 48) + " " + after(m, 48)):
        return None
    name = {"C": "Celsius", "F": "Fahrenheit"}[m["unit"]]
    one = m["first"] == "1" and not m["second"]
    return f"{_SIGNS[m['minus'] or '']}{_pair_en(m)} degree{'' if one else 's'} {name}"


_PLACE_BEFORE = re.compile(r"\b(?:room|gate|apartment|apt\.?|flat|unit|suite|seat|row|platform|door|house|"
                           r"hall|block|bus|exit|terminal|aisle|locker) $")  # fmt: skip
_STREET_AFTER = re.compile(r" (?:[A-Z][\w'’]* ){1,3}(?:St|Ave|Rd|Ln|Dr|Blvd|Pl|Ct|Street|Avenue|Road|Lane|Drive|Boulevard|"
                           r"Place|Court|Square|Terrace|Way|Row|Close|Gardens|Crescent|Hill)\b")  # fmt: skip


def _is_place(m: re.Match[str]) -> bool:
    """Whether a number with a letter is that of a house or a room: "221B Baker Street", "Gate 12B"."""
    if not m["first"].isdecimal() or m["second"]:
        return False
    return bool(_PLACE_BEFORE.search(before(m, 12)) or _STREET_AFTER.match(m.string, m.end()))


def _short_scale_en(m: re.Match[str]) -> str | None:
    power = m["power"]
    if len(power) == 1 and _is_place(m):
        return None
    if power in "kK" and re.match(
        r" (?:video|tv|monitor|display|resolution|screen|movie|camera|uhd|hdr)", after(m)
    ):
        return None
    if power in "mt" and not _MILLION_AFTER.match(after(m, 32)):
        return None
    if power == "K" and m["first"] in ("2", "4", "8") and not _MILLION_AFTER.match(after(m, 32)):
        return None
    return f"{_amounts_en(m['first'], m['second'])} {_POWER_WORDS[_POWERS[power.lower()]]}"


_DURATION_NAMES = {"d": "day", "h": "hour", "m": "minute", "s": "second", "hr": "hour", "hrs": "hour", "min": "minute",
                   "mins": "minute", "sec": "second", "secs": "second"}  # fmt: skip
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?) ?(days|day|hrs|hr|mins|min|secs|sec|[dhms])")


def _duration_en(m: re.Match[str]) -> str:
    parts = []
    for amount, symbol in _DURATION_PART.findall(m[0]):
        name = _DURATION_NAMES.get(symbol, symbol.rstrip("s"))
        parts.append(f"{english.number(amount)} {name}{'' if amount == '1' else 's'}")
    return " ".join(parts)


def _feet_en(m: re.Match[str]) -> str:
    feet = f"{english.cardinal(m[1])} {'foot' if m[1] == '1' else 'feet'}"
    inches = f" {english.number(m[2])} inch{'' if m[2] == '1' else 'es'}" if m[2] else ""
    return feet + inches


_RANGE = r"(?P<first>{N})(?:(?:<->)(?P<below>-(?=\d))?(?P<second>{N}))?".replace(
    "{N}", r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,24})(?:\.\d{1,24})?|(?<![\w.])\.\d{1,24})"
)
_SIGNED = r"(?P<minus>(?<![A-Za-z0-9)%°℃\ue000])[-+])?"
_D = r"\d{1,4}(?:\.\d{1,3})?"


def _part_en(m: re.Match[str]) -> str:
    """ "1/2 tsp" -> "one half teaspoon", "1 1/2 tsp" -> "one and a half teaspoons"."""
    unit = BY_SYMBOL[m[4]].english[bool(m[1])]
    share = english.fraction(m[2], m[3])
    if not m[1]:
        return f"{share} {unit}"
    return f"{english.cardinal(m[1])} and {share.replace('one ', 'a ', 1) if m[2] == '1' else share} {unit}"


def _area_en(m: re.Match[str]) -> str:
    """ "10x15cm" -> "ten by fifteen centimeters", "12' x 10'" -> "twelve by ten feet"."""
    unit = {"'": "feet", "′": "feet", '"': "inches", "″": "inches"}.get(m[2]) or BY_SYMBOL[m[2]].english[1]
    return " by ".join(english.number(side) for side in re.findall(r"\d+(?:\.\d+)?", m[1])) + f" {unit}"


def _lone_en(m: re.Match[str]) -> str:
    return BY_SYMBOL[m[1]].english[1] + (f" per {PER[m[2]][0]}" if m[2] else "")


ENGLISH: tuple[Rule, ...] = (
    rule("measure", rf"<S>({_D}(?: ?[x×] ?{_D}){{1,2}}) ?(mm|cm|m|km|in|ft)(?![A-Za-z0-9²³'/])", _area_en),
    rule("measure", rf"<S>({_D}['′] ?[x×] ?{_D})(['′])(?![A-Za-z0-9'])", _area_en),
    rule("measure", rf"<S>(?:(\d{{1,4}})[ -])?(\d{{1,3}})/([2-9]|1\d|32|64) ?({UNIT})(?![A-Za-z0-9²³'/])", _part_en),
    rule("measure", r"<S>(\d{1,2}) ?(?:ft|feet|foot)\.? ?(\d{1,2}(?:\.\d)?) ?(?:in|inch|inches)(?![A-Za-z0-9])",
         lambda m: _feet_en(m)),
    rule("measure", r"<S>(\d{1,4}(?:\.\d{1,3})?)in(?![A-Za-z0-9])",
         lambda m: f"{english.number(m[1])} inch{'' if m[1] == '1' else 'es'}"),
    rule("duration", rf"<S>(?:\d{{1,4}} ?d(?:ays?)? ?)?{_D} ?(?:h|hrs?) ?{_D} ?(?:m|mins?)(?: ?{_D} ?(?:s|secs?))?(?![A-Za-z0-9])",
         _duration_en),
    rule("duration", rf"<S>{_D} ?(?:m|mins?|h|hrs?) ?{_D} ?(?:s|secs?)(?![A-Za-z0-9])", _duration_en),
    rule("duration", rf"<S>\d{{1,4}} ?d ?{_D} ?(?:h|hrs?)(?![A-Za-z0-9])", _duration_en),
    rule("percent", rf"<S>{_SIGNED}{_RANGE} ?(?P<sign>[%‰])", _percent_en),
    rule("money", rf"(?<![A-Za-z])(?P<minus>-)?(?P<currency>{SIGN}) ?{_RANGE.replace('(?:<->)', '(?:<->)(?:[$€£¥₹])?')}"
         rf"(?:{_SHORT}|{_BIG})?(?![0-9])", _money_en),
    rule("money", rf"<S>{_RANGE}(?:{_SHORT}|{_BIG})? ?(?P<currency>{SIGN})(?![A-Za-z0-9])", _money_en),
    rule("money", rf"<S>{_RANGE} ?[¢￠]", _cents_en),
    rule("measure", r"<S>(\d{2,3})/(\d{2,3}) ?mm[Hh]g", lambda m: f"{english.cardinal(m[1])} over {english.cardinal(m[2])} "
         "millimeters of mercury"),
    rule("measure", r"<S>([1-9])['′] ?(\d{1,2}(?:\.\d)?)(?:''|'|″)?(?![A-Za-z0-9.])", _feet_en),
    rule("measure", rf"<S>({_D})['″] ?(?=(?:screen|monitor|display|tv|laptop|tablet|pipe|wide|long|tall|by|x|pizza|wheel)\b)",
         lambda m: f"{english.number(m[1])} inch", re.IGNORECASE),
    rule("temperature", rf"<S>{_SIGNED}{_RANGE}(?P<gap> ?)(?P<unit>[CF])(?![A-Za-z0-9/+#-])", _temperature_en),
    rule("measure", rf"<S>{_SIGNED}{_RANGE}(?P<gap>[ -]?)(?P<unit>{UNIT})(?:/(?P<per>{PER_UNIT}))?(?![A-Za-z0-9²³']|/(?!\d)|\.[A-Za-z])",
         _measure_en),
    rule("cardinal", rf"(?<![A-Za-z0-9]-)<S>{_RANGE}{_SHORT}", _short_scale_en),
    rule("ratio", r"<S><N> ?[x×](?= (?:[a-z]{2,12}(?:er|ier)|more|less|as)\b)", lambda m: f"{english.number(m[1])} times"),
    rule("measure", r"(?<![A-Za-z0-9'])((?:mm|cm|km|m)[²³])()(?![A-Za-z0-9])", _lone_en),
    rule("measure", r"(?<![A-Za-z0-9'])(km|m|cm|mg|g|kg)/(h|s|L|dL|mL|m³|m²)(?![A-Za-z0-9])", _lone_en),
)  # fmt: skip


# --- Chinese -------------------------------------------------------------------------------------------
def _percent_zh(m: re.Match[str]) -> str:
    name = {"‰": "千分之", "%": "百分之"}[m["sign"]]
    spoken = f"{_sign_zh(m)}{name}{chinese.number(m['first'])}"
    return spoken + (f"到{name}{chinese.number(m['second'])}" if m["second"] else "")


def _sign_zh(m: re.Match[str]) -> str:
    return _SIGNS_ZH[m["minus"] or ""]


def _scaled(amount: str, power: str | None) -> str:
    """ "1.2", "M" -> "1200000"."""
    if not power:
        return amount
    value = Decimal(amount.replace(",", "")) * _POWERS[power.lower()]
    return format(value.normalize(), "f")


def _money_zh(m: re.Match[str]) -> str:
    currency = BY_SIGN[m["currency"]].chinese
    first = _scaled(_cents_dropped(m["first"]), m["power"])
    scale, following = m["scale"] or "", after(m, 2)
    second = _scaled(_cents_dropped(m["second"]), m["power"]) if m["second"] else None
    named = (
        ""
        if following[:1] in ("元", "块") or following.startswith(("美元", "欧元", "英镑", "日元"))
        else currency
    )
    spoken = chinese.count(first, scale or "元") if scale else chinese.number(first)
    if second:
        spoken += "到" + chinese.number(second)
    return f"{_SIGNS_ZH[m['minus'] or ''] if 'minus' in m.re.groupindex else ''}{spoken}{scale}{named}"


def _measure_zh(m: re.Match[str]) -> str | None:
    unit = BY_SYMBOL[m["unit"]].chinese
    if m["unit"] == "A" and re.match(r"(?![的电以左至到和与或为是时])[\u4e00-\u9fff]", after(m, 1)):
        return None  # "5A景区", "3A游戏"
    if m["unit"] in ("A", "V", "t", "N", "J", "pt", "cal", "ha", "MP") and re.match(
        "[级股面类型区轮]", after(m, 1)
    ):
        return None
    amounts = chinese.count(m["first"], unit) + (
        f"到{chinese.count(m['second'], unit)}" if m["second"] else ""
    )
    spoken = f"{_sign_zh(m)}{amounts}{unit}"
    if not m["per"]:
        return spoken
    # "10km/h" is 每小时十公里; what is no time follows: 三克每升
    per = PER[m["per"]][1]
    return (
        f"每{per}{spoken}" if m["per"] in ("s", "sec", "min", "h", "hr", "d", "day") else f"{spoken}每{per}"
    )


def _celsius_zh(m: re.Match[str]) -> str:
    below = "负" if m["below"] else ""
    amounts = chinese.number(m["first"]) + (f"到{below}{chinese.number(m['second'])}" if m["second"] else "")
    minus = "负" if m["minus"] == "-" else ""
    return f"{minus}{amounts}" + {"°C": "摄氏度", "℃": "摄氏度", "°F": "华氏度", "℉": "华氏度"}[m["unit"]]


_DURATION_ZH = {"h": "小时", "m": "分", "s": "秒", "min": "分", "d": "天"}
_DURATION_PART_ZH = re.compile(r"(\d+(?:\.\d+)?) ?(min|[dhms])")


def _duration_zh(m: re.Match[str]) -> str:
    return "".join(
        chinese.count(amount, "小时") + _DURATION_ZH[symbol]
        for amount, symbol in _DURATION_PART_ZH.findall(m[0])
    )


_SHORT_ZH = _SHORT


def _clock_length_zh(m: re.Match[str]) -> str:
    return f"{chinese.number(m[1])}分{chinese.number(str(int(m[2])))}秒"


_SCALE_ZH = r"(?P<scale>[十百千万亿]{1,3})"


_LONE_ZH = "km²|km2|m²|km|cm|mm|kg|mg|mL|ml|GB|MB|kWh|MW|kW"  # after "多" or 万


def _pressure_zh(m: re.Match[str]) -> str | None:
    unit = m[3] or ""
    if not unit and "血压" not in before(m, 12):
        return None
    return f"{chinese.number(m[1])},{chinese.number(m[2])}" + ("毫米汞柱" if unit else "")


CHINESE: tuple[Rule, ...] = (
    rule("measure", rf"(?<=[0-9\ue000十百千万亿][多余几万亿]) ?({_LONE_ZH})(?![A-Za-z0-9²³])", lambda m: BY_SYMBOL[m[1]].chinese),
    rule("measure", rf"(?<=[\u4e00-\u9fff])/({PER_UNIT})(?![A-Za-z0-9²³])", lambda m: f"每{PER[m[1]][1]}"),
    rule("measure", r"(?<![0-9./])(\d{2,3})/(\d{2,3})( ?mm[Hh]g)?(?![0-9/]|\.\d)", _pressure_zh),
    rule("percent", rf"<S>{_SIGNED}(?P<first>\d[\d,]*(?:\.\d+)?)(?:(?:<->|[至到])(?P<second>\d[\d,]*(?:\.\d+)?))? ?(?P<sign>[%‰])",
         _percent_zh),
    rule("money", rf"(?<![A-Za-z])(?P<minus>-)?(?P<currency>{SIGN}) ?{_RANGE.replace('(?:<->)', '(?:<->|至|到)(?:[$€£¥])?')}"
         rf"(?:{_SHORT_ZH}|{_SCALE_ZH})?(?![0-9])", _money_zh),
    rule("money", rf"<S>{_RANGE}(?:{_SHORT_ZH}|{_SCALE_ZH})? ?(?P<currency>{SIGN})(?![A-Za-z0-9])", _money_zh),
    rule("duration", rf"<S>(?:{_D} ?h ?{_D} ?m(?:in)?(?: ?{_D} ?s)?|{_D} ?m(?:in)? ?{_D} ?s)(?![A-Za-z0-9])", _duration_zh),
    rule("duration", r"<S>(\d{1,2})['′](\d\d)(?:''|'|″)(?![\w'])", _clock_length_zh),
    rule("temperature", rf"<S>{_SIGNED}{_RANGE} ?(?P<unit>℃|°C|℉|°F)", _celsius_zh),
    rule("measure", rf"<S>{_SIGNED}{_RANGE} ?(?P<unit>{UNIT})(?:/(?P<per>{PER_UNIT}))?(?![A-Za-z0-9²³])", _measure_zh),
)  # fmt: skip
