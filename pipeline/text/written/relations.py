"""Scores, ratios, ranges, fractions: two numbers and what is between them."""

import re

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, after, before, rule

_BOUND_END = r"(?![\w]|[.,:/-]\d|-[A-Za-z])"
# Said as two numbers, whatever the arithmetic: 24/7, 50/50, 20/20.
_IDIOMS = {"24/7": "twenty four seven", "10/10": "ten out of ten", "50/50": "fifty fifty", "20/20": "twenty twenty", "9/11": "nine eleven",
           "80/20": "eighty twenty", "60/40": "sixty forty", "70/30": "seventy thirty", "90/10": "ninety ten"}  # fmt: skip
_DENOMINATORS = frozenset((*range(2, 21), 25, 30, 32, 40, 50, 60, 64, 100, 128, 1000))
_OUT_OF = re.compile(r"^ (?:stars?|points?|rating|marks?|correct|score)|^\.?$")
_RATED = re.compile(r"\b(?:rated|rating|scored?|score of|got|gave it|marks?|graded)[a-z ]{0,12}$")
_PART_OF = re.compile(
    r"\b(?:step|part|page|slide|day|round|level|lesson|episode|chapter|question|stage|week|item)s? $"
)
_OVER = re.compile(r"blood pressure|bp[ :]|\bpressure\b")


def _fraction_en(m: re.Match[str]) -> str | None:
    top, bottom = m[2], m[3]
    if not m[1] and f"{top}/{bottom}" in _IDIOMS:
        return _IDIOMS[f"{top}/{bottom}"]
    if _PART_OF.search(before(m)) and int(top) <= int(bottom):
        return f"{english.cardinal(top)} of {english.cardinal(bottom)}"
    if _OVER.search(before(m, 32)):
        return f"{english.cardinal(top)} over {english.cardinal(bottom)}"
    if not m[1] and (_RATED.search(before(m, 32)) or re.match(r" stars?\b", after(m))):
        return f"{english.cardinal(top)} out of {english.cardinal(bottom)}"
    if top[0] == "0" or bottom[0] == "0" or len(bottom) > 6 or len(top) > 6:
        return f"{english.cardinal(top)} slash {english.cardinal(bottom)}"
    if int(bottom) not in _DENOMINATORS or int(top) >= int(bottom) and int(bottom) > 16:
        return f"{english.cardinal(top)} over {english.cardinal(bottom)}"
    whole = f"{english.cardinal(m[1])} and " if m[1] else ""
    spoken = english.fraction(top, bottom)
    return whole + (spoken.replace("one ", "a ", 1) if whole and bottom in "24" and top == "1" else spoken)


def _pairs(digits: str) -> str:
    """ "1920" -> "nineteen twenty", "480" -> "four eighty"."""
    head, tail = digits[:-2], digits[-2:]
    if tail == "00" or tail[0] == "0":
        return english.cardinal(digits)
    return f"{english.cardinal(head)} {english.cardinal(tail)}"


def _ratio_en(m: re.Match[str]) -> str:
    return " to ".join(english.number(part) for part in m[0].split(":"))


_SCORED = re.compile(r"\b(?:score|scored|was|tied|ended|finished|drew|at) $")
_MODEL = re.compile(r"(?:boeing|airbus|iso|model|type|part|highway|embraer) $")


def _range_en(m: re.Match[str]) -> str | None:
    if re.search(r"=\s*$", m.string[max(0, m.start() - 3) : m.start()]) or re.match(r" ?=", after(m, 2)):
        return None  # arithmetic
    if m[0] in ("50-50", "20-20") and not _SCORED.search(before(m)):
        return f"{english.cardinal(m[1])} {english.cardinal(m[2])}"
    if _MODEL.search(before(m)):
        return " ".join(_pairs(part) if len(part) == 3 else english.cardinal(part) for part in (m[1], m[2]))
    return f"{english.number(m[1])} to {english.number(m[2])}" + (" and more" if m[0].endswith("+") else "")


def _ordinal_range_en(m: re.Match[str]) -> str:
    return f"{english.ordinal(m[1])} to {english.ordinal(m[2])}"


ENGLISH: tuple[Rule, ...] = (
    rule("ordinal", r"<S>(\d{1,6})(?:st|nd|rd|th)?<->(\d{1,6})(?:st|nd|rd|th)(?![A-Za-z0-9])(?:-(?=[A-Za-z]))?", _ordinal_range_en,
         re.IGNORECASE),
    rule("fraction", r"<S>24/7/365(?![\w/])", "twenty four seven three sixty five"),
    rule("resolution", r"(?<![\w.,])(\d{3,4}) ?[xX×*] ?(\d{3,4})(?![\w.,]|[.,]\d)", lambda m: f"{_pairs(m[1])} by {_pairs(m[2])}"),
    rule("resolution", r"(?<![\w.,])(\d{3,4})(?=[pPi](?![A-Za-z0-9]))", lambda m: _pairs(m[1])),
    rule("fraction", rf"<S>(?:(\d{{1,6}})[ -])?(\d{{1,9}})/(\d{{1,9}}){_BOUND_END}(?:-(?=[a-z]))?", _fraction_en),
    rule("ratio", r"<S>\d{1,6}(?:\.\d{1,4})?(?::\d{1,6}(?:\.\d{1,4})?){1,3}(?![\w:]|\.\d)", _ratio_en),
    rule("range", rf"(?<![A-Za-z]-)<S><N><-><N>{_BOUND_END}", _range_en),
)  # fmt: skip

# --- Chinese -------------------------------------------------------------------------------------------
_SCORE_BEFORE = re.compile(
    r"(?:比分|胜|负于|赢|输(?![入出送])|战平|击败|战胜|逆转|领先|落后|局|总分|不敌|取胜|扳成|扳平|半场|打成|拿下|打平|平局|惨败|点球|盘|横扫|"
    r"淘汰|力克|险胜|客场|主场|比赛|对阵|决赛|终场|首回合|次回合|将比|暂时|最终|以)[^0-9]{0,10}$"
)
_SCORE_AFTER = re.compile(r"^ ?(?:[大速险完惜]?胜|击败|战胜|逆转|领先|落后|战平|不敌|取胜|获胜|拿下|赢|输(?![入出送])|负|平局|扳|"
                          r"淘汰|力克|横扫|惨败|的比分|比分|平(?![方均米])|大败|轻取|主场|客场|告负)")  # fmt: skip


# Between two of these two numbers are a score, even one that rises like a range.
_TEAMS = (
    "中国 国足 日本 韩国 朝鲜 澳大利亚 伊朗 沙特 卡塔尔 德国 法国 英格兰 西班牙 葡萄牙 意大利 荷兰 比利时 瑞士 瑞典 丹麦 挪威 波兰 "
    "克罗地亚 塞尔维亚 土耳其 俄罗斯 乌克兰 希腊 奥地利 匈牙利 捷克 威尔士 苏格兰 爱尔兰 巴西 阿根廷 乌拉圭 智利 秘鲁 哥伦比亚 "
    "厄瓜多尔 巴拉圭 墨西哥 美国 加拿大 哥斯达黎加 摩洛哥 突尼斯 埃及 塞内加尔 加纳 尼日利亚 喀麦隆 南非 主队 客队 甲队 乙队 红队 蓝队"
).split()
_TEAM_BEFORE = re.compile(rf"(?:{'|'.join(_TEAMS)}|队) ?$")
_TEAM_AFTER = re.compile(rf" ?(?:{'|'.join(_TEAMS)}|[\u4e00-\u9fff]{{1,4}}队)")


_WEAK_SCORE = re.compile(
    r"(?:比赛|主场|客场|决赛|最终|以|暂时|局|盘|半场|对阵|时间|定于|在|于|点)[^0-9]{0,10}$"
)
_NO_SCORE_AFTER = re.compile(r"^ ?[日号月年天点时%个人分]")


def _score_zh(m: re.Match[str]) -> str | None:
    following = after(m, 2)
    if _NO_SCORE_AFTER.match(following) and not following.startswith("人气"):
        return None
    if (
        ":" in m[0]
        and len(m[2]) == 2
        and int(m[2]) < 60
        and int(m[1]) < 24
        and _WEAK_SCORE.search(before(m, 16))
    ):
        return None  # a time of day
    if _TEAM_BEFORE.search(before(m, 8)) and _TEAM_AFTER.match(after(m, 8)):
        return "比".join(chinese.number(part) for part in (m[1], m[2]))
    if _SCORE_BEFORE.search(before(m, 16)) or _SCORE_AFTER.match(after(m, 8)):
        return "比".join(chinese.number(part) for part in (m[1], m[2]))
    return None


def _ratio_zh(m: re.Match[str]) -> str:
    return "比".join(chinese.number(part) for part in m[0].split(":"))


def _range_zh(m: re.Match[str]) -> str | None:
    if re.match(r" ?=", after(m, 2)):
        return None  # arithmetic
    following = after(m, 4)
    unit = m[2] or ""
    if (
        not unit
        and m[1].isdigit()
        and m[3].isdigit()
        and max(len(m[1]), len(m[3])) <= 3
        and int(m[1]) >= int(m[3])
    ):
        return f"{chinese.number(m[1])}比{chinese.number(m[3])}"  # no range falls: a score
    first = chinese.count(m[1], unit or following)
    return f"{first}{unit}到{chinese.count(m[3], following)}"


def _fraction_zh(m: re.Match[str]) -> str:
    return f"{chinese.number(m[2])}分之{chinese.number(m[1])}"


CHINESE: tuple[Rule, ...] = (
    rule("score", r"<S>(\d{1,3}) ?[-:~] ?(\d{1,3})(?![A-Za-z0-9:]|\.\d)(?!-\d)", _score_zh),
    rule("resolution", r"(?<![A-Za-z0-9.,])(\d{3,4})(?=[pPi](?![A-Za-z0-9]))", lambda m: chinese.spell(m[1])),
    rule("fraction", r"<S>(?:24/7|7/24)(?![A-Za-z0-9/]|\.\d)", "七乘二十四"),
    rule("fraction", r"<S>(\d{1,9})/(\d{1,9})(?![A-Za-z0-9/]|\.\d)", _fraction_zh),
    rule("ratio", r"<S>\d{1,6}(?:\.\d{1,4})?(?::\d{1,6}(?:\.\d{1,4})?){1,3}(?![\w:]|\.\d)", _ratio_zh),
    rule(
        "range",
        r"(?<!第)(?<!第 )<S><N> ?((?:(?![和与或及跟、])[\u4e00-\u9fff]){0,2}?)<->(\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?)(?![A-Za-z0-9]|[.,]\d|-\d)",
        _range_zh,
    ),
)
