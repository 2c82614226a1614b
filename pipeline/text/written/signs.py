"""Mathematics and other signs, each by its name; abbreviations."""

import re

from pipeline.text.written.rule import Rule, after, alternatives, before, rule
from pipeline.text.written.units import PER, PER_UNIT

# Sign: (English, Chinese). A sign not named here and not punctuation is left out, and told so.
SIGNS = {
    "±": ("plus or minus", "正负"), "×": ("times", "乘"), "÷": ("divided by", "除以"),
    "≤": ("less than or equal to", "小于等于"), "≥": ("greater than or equal to", "大于等于"),
    "≦": ("less than or equal to", "小于等于"), "≧": ("greater than or equal to", "大于等于"),
    "≠": ("not equal to", "不等于"), "≈": ("approximately", "约等于"), "≡": ("identical to", "恒等于"), "∝": ("proportional to", "正比于"),
    "=": ("equals", "等于"), "√": ("square root of", "根号"), "∞": ("infinity", "无穷"), "∑": ("sum of", "求和"),
    "∫": ("integral of", "积分"), "∂": ("partial", "偏"), "∈": ("in", "属于"), "∪": ("union", "并"), "∩": ("intersection", "交"),
    "⊂": ("subset of", "包含于"), "∅": ("empty set", "空集"), "∀": ("for all", "任意"), "∃": ("there exists", "存在"),
    "∴": ("therefore", "所以"), "∵": ("because", "因为"), "∠": ("angle", "角"), "⊥": ("perpendicular to", "垂直于"),
    "∥": ("parallel to", "平行于"), "¬": ("not", "非"), "∧": ("and", "与"), "∨": ("or", "或"), "→": ("to", "到"), "⇒": ("implies", "推出"),
    "←": ("from", "来自"), "↑": ("up", "上升"), "↓": ("down", "下降"), "↔": ("to and from", "互换"), "⇔": ("if and only if", "等价于"),
    "⁰": ("to the power of zero", "的零次方"), "¹": ("to the power of one", "的一次方"), "²": ("squared", "的平方"), "³": ("cubed", "的立方"),
    "⁴": ("to the power of four", "的四次方"), "⁵": ("to the power of five", "的五次方"), "⁶": ("to the power of six", "的六次方"),
    "⁷": ("to the power of seven", "的七次方"), "⁸": ("to the power of eight", "的八次方"), "⁹": ("to the power of nine", "的九次方"),
    "°": ("degrees", "度"), "℃": ("degrees Celsius", "摄氏度"), "℉": ("degrees Fahrenheit", "华氏度"), "‰": ("per mille", "千分之"),
    "%": ("percent", "百分号"), "&": ("and", "和"), "@": ("at", "艾特"), "§": ("section", "第"), "©": ("copyright", "版权"),
    "®": ("registered", "注册商标"), "™": ("trademark", "商标"), "€": ("euro", "欧元"), "£": ("pound", "英镑"), "¥": ("yuan", "元"),
    "₹": ("rupee", "卢比"), "₩": ("won", "韩元"), "¢": ("cent", "美分"), "₿": ("bitcoin", "比特币"), "α": ("alpha", "阿尔法"),
    "β": ("beta", "贝塔"), "γ": ("gamma", "伽马"), "δ": ("delta", "德尔塔"), "Δ": ("delta", "德尔塔"), "ε": ("epsilon", "艾普西隆"),
    "θ": ("theta", "西塔"), "λ": ("lambda", "拉姆达"), "μ": ("mu", "缪"), "π": ("pi", "派"), "ρ": ("rho", "柔"), "σ": ("sigma", "西格玛"),
    "Σ": ("sigma", "西格玛"), "τ": ("tau", "陶"), "φ": ("phi", "斐"), "ω": ("omega", "欧米伽"), "Ω": ("ohm", "欧姆"),
    "♂": ("male", "男"), "♀": ("female", "女"), "♥": ("heart", "爱心"), "★": ("star", "星"), "〇": ("zero", "零"), "′": ("minutes", "分"), "″": ("seconds", "秒"),
}  # fmt: skip

_BESIDE = "A-Za-z0-9\ue000)²³π"
_NEAR = rf"(?<=[{_BESIDE}]) ?"
# Between numbers, names of quantities or what has been read already.
_OPERATORS = (
    (rf"{_NEAR}\*(?= ?[{_BESIDE}(-])", "times", "乘"),
    (rf"{_NEAR}(?<![<=-])>(?![>=]) ?(?=[{_BESIDE}-])", "greater than", "大于"),
    (rf"{_NEAR}<(?![<=/!-]) ?(?=[{_BESIDE}-])", "less than", "小于"),
    (r"(?<![\w\ue000>-])>(?!=) ?(?=[\d\ue000])", "more than", "大于"),
    (r"(?<![\w\ue000<])<(?![=/]) ?(?=[\d\ue000])", "less than", "小于"),
    (rf"{_NEAR}>= ?(?=[{_BESIDE}-])", "greater than or equal to", "大于等于"),
    (rf"{_NEAR}<= ?(?=[{_BESIDE}-])", "less than or equal to", "小于等于"),
    (rf"{_NEAR}!= ?(?=[{_BESIDE}-])", "not equal to", "不等于"),
    (rf"{_NEAR}\+/- ?(?=\d)", "plus or minus", "正负"),
    (r"(?<![\w\ue000])\+/- ?(?=\d)", "plus or minus", "正负"),
    (rf"(?<=[{_BESIDE}] )\+ ?(?=[{_BESIDE}(-])", "plus", "加"),
    (r"(?<=[0-9\ue000])\+(?=[A-Za-z0-9\ue000])", "plus", "加"),
    (r"(?<=[A-Z])\+(?=[0-9\ue000])", "plus", "加"),
    (r"(?<=[A-Za-z]) ?~ ?(?=[A-Za-z])", "to", "到"),
)


def _minus(word: str, spelled: str) -> Rule:
    """A dash in a line of arithmetic: an equals sign stands at its other end, or spaces around it and digits."""

    def read(match: re.Match[str]) -> str | None:
        return word if re.match(r"[ \d.,A-Za-z+*×÷/-]{0,30}=", after(match, 32)) else None

    return rule("math", spelled, read)


def _power(language: str):
    def read(match: re.Match[str]) -> str:
        exponent = match[1]
        if language == "en":
            return {"2": "squared", "3": "cubed"}.get(
                exponent, "to the power of " + _number(language, exponent)
            )
        return {"2": "的平方", "3": "的立方"}.get(exponent, f"的{_number(language, exponent)}次方")

    return read


def _number(language: str, digits: str) -> str:
    from pipeline.text.written import chinese, english

    sign = digits.startswith("-")
    if language == "en":
        return ("minus " if sign else "") + english.cardinal(digits.lstrip("-"))
    return ("负" if sign else "") + chinese.cardinal(digits.lstrip("-"))


_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_DASH_MINUS = r"(?<=[0-9A-Za-z\ue000]) ?- ?(?=[0-9A-Za-z])"


def _early(language: str) -> tuple[Rule, ...]:
    """Before the numbers are read: powers, and the dash of arithmetic."""
    index = ("en", "zh").index(language)

    def superscript(match: re.Match[str]) -> str:
        power = match[0].translate(_SUPERSCRIPTS)
        named = SIGNS[match[0]][index] if len(match[0]) == 1 and match[0] != "⁻" else None
        if named:
            return named
        return (
            _power(language)(re.match(r"\^?(-?\d+)", "^" + power) or match)
            if re.fullmatch(r"-?\d+", power)
            else ""
        )

    by = "by" if language == "en" else "乘"
    return (
        rule("math", r"(?<=[A-Za-z0-9)])\^(-?\d{1,6})(?!\d)", _power(language)),
        rule("math", r"(?<=[A-Za-z0-9)π])[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,6}", superscript),
        rule("math", r"(?<=\d) ?[x×] ?(?=\d{2,5} ?[x×] ?\d)|(?<=\d\d)x(?=\d\d)|(?<=\d) x (?=\d)", by),
        rule("math", r"(?<=\d)[xX](?=\d)", by),
    )


def _late(language: str) -> tuple[Rule, ...]:
    """After the numbers are read."""
    index = ("en", "zh").index(language)
    named = [rule("math", pattern, (english, chinese)[index]) for pattern, english, chinese in _OPERATORS]
    signs = "".join(re.escape(sign) for sign in SIGNS)
    return (*named, rule("sign", f" ?[{signs}]", lambda m: SIGNS[m[0].strip(" ")][index] or None))


# --- English abbreviations -----------------------------------------------------------------------------
_SPOKEN = {
    "Mr.": "mister", "Mrs.": "missus", "Ms.": "miz", "Messrs.": "messieurs", "Prof.": "professor", "Gen.": "general",
    "Col.": "colonel", "Capt.": "captain", "Lt.": "lieutenant", "Sgt.": "sergeant", "Rev.": "reverend", "Hon.": "honorable",
    "Gov.": "governor", "Sen.": "senator", "Rep.": "representative", "Pres.": "president", "Maj.": "major", "Cmdr.": "commander",
    "Jr.": "junior", "Sr.": "senior", "Esq.": "esquire", "Inc.": "incorporated", "Ltd.": "limited", "Corp.": "corporation",
    "Co.": "company", "Bros.": "brothers", "Ave.": "avenue", "Blvd.": "boulevard", "Rd.": "road", "Mt.": "mount", "Ft.": "fort",
    "Hwy.": "highway", "Apt.": "apartment", "Dept.": "department", "Univ.": "university", "Assn.": "association",
    "Fig.": "figure", "fig.": "figure", "Figs.": "figures", "Vol.": "volume", "vol.": "volume", "Ch.": "chapter", "Sec.": "section",
    "vs.": "versus", "vs": "versus", "v.s.": "versus", "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "cf.": "compare",
    "approx.": "approximately", "Approx.": "approximately", "ca.": "circa", "est.": "estimated", "dept.": "department",
    "govt.": "government", "misc.": "miscellaneous", "incl.": "including", "excl.": "excluding", "max.": "maximum",
    "min.": "minimum", "avg.": "average", "esp.": "especially", "et al.": "and others", "w/o": "without", "w/": "with",
    "b/c": "because", "a.k.a.": "also known as", "Ph.D.": "P H D", "M.D.": "M D", "B.A.": "B A", "p.s.": "P S", "P.S.": "P S",
    "a.m.": "AM", "p.m.": "PM", "A.M.": "AM", "P.M.": "PM", "approx": "approximately", "Mr": "mister", "Mrs": "missus",
    "and/or": "and or", "he/she": "he or she", "his/her": "his or her", "s/he": "she or he",
    "Mon.": "monday", "Tue.": "tuesday", "Tues.": "tuesday", "Wed.": "wednesday", "Thu.": "thursday", "Thurs.": "thursday",
    "Fri.": "friday", "Jan.": "january", "Feb.": "february", "Aug.": "august", "Sept.": "september", "Oct.": "october",
    "Nov.": "november", "Dec.": "december", "pp.": "pages", "Ave": "avenue", "Blvd": "boulevard", "ext.": "extension", "Ext.": "extension", "WW1": "World War one", "WW2": "World War two", "WWI": "World War one", "WWII": "World War two",
}  # fmt: skip
# Before a digit only.
_BEFORE_NUMBER = {"No.": "number", "NO.": "number", "no.": "number", "Nos.": "numbers", "nos.": "numbers", "p.": "page", "pp.": "pages",
                  "Rm.": "room", "Art.": "article", "ch.": "chapter", "#": "number", "№": "number"}  # fmt: skip
ABBREVIATIONS = len(_SPOKEN) + len(_BEFORE_NUMBER) + 2  # St. and Dr. have two readings each
_SENTENCE_STARTERS = (
    "He|She|The|It|They|We|You|But|And|This|That|In|If|So|Then|When|There|What|Why|How|Who|On|At|A|An|My|Our|Their|His|"
    "Her|Its|These|Those|For|After|Before|Now|Yes|No|Not|Please|As|To|Let|Do|Is|Are"
)


def _abbreviation(match: re.Match[str]) -> str | None:
    written = match[0]
    if written in ("est.", "min.", "max.", "ca.", "cf.", "Co.", "Sec.", "Oct.", "Dec.") and not after(match):
        return None if written in ("min.", "max.") else _SPOKEN[written] + "."
    ends = written.endswith(".") and _ends_sentence(match)
    return _SPOKEN[written] + ("." if ends else "")


_CLOSERS = frozenset({"etc.", "Inc.", "Ltd.", "Corp.", "Co.", "Jr.", "Sr.", "a.m.", "p.m.", "A.M.", "P.M.", "Ave.", "Blvd.", "Rd.",
                      "et al.", "Bros.", "Esq.", "M.D.", "Ph.D."})  # fmt: skip


def _ends_sentence(match: re.Match[str]) -> bool:
    """Whether the period of an abbreviation is also the sentence's."""
    rest = match.string[match.end() : match.end() + 16]
    if not rest.strip(" '"):
        return True
    return match[0] in _CLOSERS and re.match(rf"'? (?:{_SENTENCE_STARTERS})\b", rest) is not None


def _saint_or_street(match: re.Match[str]) -> str:
    lead, rest = (
        match.string[max(0, match.start() - 20) : match.start()],
        match.string[match.end() : match.end() + 12],
    )
    name_before = re.search(r"(?:[A-Z][a-z]+|\d(?:st|nd|rd|th)|\ue000) $", lead)
    name_after = re.match(rf" (?!(?:{_SENTENCE_STARTERS})\b)[A-Z][a-z]", rest)
    street = match[0] == "St."
    if name_after and not (
        name_before and re.search(r"(?:\d|\ue000) [A-Z][a-z]+ $|(?:st|nd|rd|th|\ue000) $", lead)
    ):
        return "saint" if street else "doctor"
    if not name_before:
        return "saint" if street else "doctor"
    return ("street" if street else "drive") + ("" if re.match(r",| [a-z]", rest) else ".")


def _dotted(match: re.Match[str]) -> str:
    letters = " ".join(re.findall(r"[A-Za-z]", match[0]))
    return letters + ("." if match[0].endswith(".") and _dotted_ends(match) else "")


def _dotted_ends(match: re.Match[str]) -> bool:
    rest = match.string[match.end() : match.end() + 12]
    return not rest.strip(" '") or re.match(rf"'? (?:{_SENTENCE_STARTERS})\b", rest) is not None


def _initials(match: re.Match[str]) -> str | None:
    if re.search(
        r"(?:plan|vitamin|grade|type|option|class|section|group|team|and|do|than|am) $", before(match, 12)
    ):
        return None
    return " ".join(re.findall(r"[A-Z]", match[0]))


_NAMES = {name[:length]: name for name in (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "January", "February", "March", "April", "May",
    "June", "July", "August", "September", "October", "November", "December",
) for length in (3, 4, len(name))}  # fmt: skip
_NAME = "|".join(sorted(_NAMES, key=len, reverse=True))

ABBREVIATIONS_ENGLISH: tuple[Rule, ...] = (
    rule(
        "range",
        rf"(?<![A-Za-z])({_NAME})\.?(?: ?-{{1,2}} ?| ?~ ?)({_NAME})(?![A-Za-z])",
        lambda m: f"{_NAMES[m[1]]} to {_NAMES[m[2]]}",
    ),
    rule(
        "abbreviation",
        rf"(?<![\w.])(?:{alternatives(_BEFORE_NUMBER)}) ?(?=\d)",
        lambda m: _BEFORE_NUMBER[m[0].strip(" ")],
    ),
    rule("abbreviation", r"(?<![\w.])(?:St|Dr)\.(?![\w])", _saint_or_street),
    rule(
        "abbreviation",
        rf"(?<![\w.])(?:{alternatives(w for w in _SPOKEN if w.endswith('.'))})(?![A-Za-z])",
        _abbreviation,
    ),
    rule(
        "abbreviation",
        rf"(?<![\w./])(?:{alternatives(w for w in _SPOKEN if not w.endswith('.'))})(?![\w./])",
        _abbreviation,
    ),
    rule("abbreviation", r"(?<![\w.])(?:[A-Za-z]\.){2,8}(?![A-Za-z0-9])", _dotted),
    rule(
        "abbreviation",
        rf"(?<![\w.'])(?:[A-HJ-Z]\. ?){{1,4}}(?= ?(?!(?:{_SENTENCE_STARTERS})\b)[A-Z][a-z])",
        _initials,
    ),
)
MINUS_ENGLISH = (_minus("minus", _DASH_MINUS),)
MINUS_CHINESE = (_minus("减", _DASH_MINUS),)
EARLY_ENGLISH, LATE_ENGLISH = _early("en"), _late("en")
EARLY_CHINESE, LATE_CHINESE = _early("zh"), _late("zh")
OTHER_ENGLISH: tuple[Rule, ...] = (
    rule("math", r"(?<=[\d\ue000]) / (?=[\d\ue000])", "divided by"),
    rule("sign", rf"(?<=[\d\ue000]) ?/ ?({PER_UNIT})(?![A-Za-z0-9])", lambda m: f"per {PER[m[1]][0]}"),
    rule("sign", r"(?<!\w)~ ?(?=[\d\ue000])", "about "),
    rule("sign", r"(?<=\ue000)/(?=\ue000)", ", "),
    rule("sign", r"(?<=[\d\ue000]) ?/ ?(?=[A-Za-z\ue000])", "per"),
    rule("sign", r"(?<=[A-Za-z])/(?=[A-Za-z])", " slash "),
    rule("sign", r"(?<=[A-Z]{3})/(?=\ue000)", " "),
    rule("sign", r"(?<=[0-9\ue000])\+(?![\w])", "plus"),
    rule("sign", r"(?<![\w\ue000])#(?=[0-9\ue000])", "number"),
    rule("sign", r"(?<=[Cc])\+\+", "plus plus"),
    rule("sign", r"(?<=\b[A-F])\+(?![\w+])", " plus"),
    rule(
        "sign",
        r"(?<=\b[A-F])-(?= (?:grade|average|student|rating|rated|movie|minus|in|on)|[.,;]|$)",
        " minus",
    ),
    rule("sign", r"(?<=[CFcf])#", "sharp"),
    rule("sign", r"(?<![A-Za-z0-9])\$(?![A-Za-z0-9])", "dollar"),
)
OTHER_CHINESE: tuple[Rule, ...] = (
    rule("sign", r"约?(?<![A-Za-z0-9.\ue000])~ ?(?=[0-9\ue000])", "约"),
    rule("sign", r"(?<=[元块角次个人米斤克升\ue000])/(?=[\u4e00-\u9fff])", "每"),
    rule("sign", r"(?<=岁)\+(?![\w+])", "以上"),
    rule("sign", r"(?<=[A-Za-z0-9\u4e00-\u9fff])\+(?=[A-Za-z\u4e00-\u9fff])", "加"),
    rule("sign", r"(?<=[Cc])\+\+", "加加"),
    rule("sign", r"(?<=[CF])#", " sharp "),
)
