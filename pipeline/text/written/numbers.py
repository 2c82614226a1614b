"""Cardinals, ordinals, decimals, numbers glued to letters, and roman numerals."""

import re

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, after, rule

_SPELLED_AFTER_LETTERS = 3  # digits glued to letters: this many and more are said one by one


# --- English -------------------------------------------------------------------------------------------
def _ordinal_en(m: re.Match[str]) -> str:
    return english.ordinal(m[1])


def _glued_en(m: re.Match[str]) -> str:
    whole, point, decimals = m[1].partition(".")
    if not point and len(whole) >= _SPELLED_AFTER_LETTERS:
        return english.cardinal(whole) if whole.endswith("00") and len(whole) < 5 else english.spell(whole)
    return english.number(m[1])


def _er_en(m: re.Match[str]) -> str:
    """ "49ers" -> "forty niners"."""
    return english.cardinal(m[1]).removesuffix("e") + "ers"


def _number_en(m: re.Match[str]) -> str:
    signs = {"-": "minus ", "+": "plus ", "±": "plus or minus "}
    # "(5" is no sign; "x-5" is handled by the hyphen staying outside
    return signs.get(m[1] or "", "") + english.number(m[2])


ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = r"(?=[IVXLCDM])(M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?![A-Za-z0-9]|'(?!s(?![A-Za-z])))"
_NUMBERED = (
    r"Chapter|Part|Act|Scene|Volume|Vol\.|Book|Section|Phase|Type|Level|Grade|Class|Appendix|Figure|Fig\.|Table|War|"
    r"Article|Title|Stage|Episode|Season|Series|Lesson|Unit|Module|Schedule|Canto|Psalm|Rule|Division|Category|Tier|"
    r"Mark|Mk|Model|Generation|Gen|Bowl|Olympiad|Apollo|Council|Vatican|Amendment|Step|Group|Round"
)
_REGNAL = (
    r"Henry|Louis|Elizabeth|Charles|George|James|Edward|William|Richard|Catherine|Napoleon|Pius|Leo|Benedict|Francis|"
    r"Clement|Gregory|Innocent|Urban|Alexander|Nicholas|Peter|Frederick|Wilhelm|Philip|Ferdinand|Alfonso|Ramses|Ramesses|"
    r"Ptolemy|Cleopatra|Mary|Anne|Victoria|Christian|Gustav|Carl|Karl|Haakon|Olav|Harald|Umberto|Emmanuel|Isabella|"
    r"John|Paul|Stephen|Robert|David|Constantine|Theodosius|Justinian|Ivan|Otto|Leopold|Maximilian|Rudolf|Joseph|"
    r"Amenhotep|Thutmose|Darius|Xerxes|Artaxerxes|Sixtus|Julius|Boniface|Celestine|Adrian|Eugene|Margrethe|Juan Carlos|"
    r"Felipe|Sigismund|Casimir|Mehmed|Selim|Suleiman|Murad|Pedro|Manuel|Baldwin|Rama|King|Queen|Pope|Emperor|Tsar|Czar"
)
_NOT_ROMAN = frozenset({"I", "MIX", "CD", "DC", "MD", "CV", "MI", "CC", "MM", "DI", "MC", "LCD", "DVD", "CIV", "MIL", "DIM",
                        "MLI", "C", "D", "L", "M"})  # fmt: skip


def roman_value(numeral: str) -> int:
    """ "XIV" -> 14."""
    values = [ROMAN[letter] for letter in numeral]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _roman_numbered(m: re.Match[str]) -> str | None:
    return english.cardinal(str(roman_value(m[1])))


def _roman_regnal(m: re.Match[str]) -> str | None:
    if m[1] in ("C", "D", "L", "M", "CD", "MD"):
        return None
    if m[1] == "I" and re.match(
        r" (?:am|was|have|had|will|would|do|did|think|know|see|can|could|love|like|want|said)\b", after(m)
    ):
        return None
    return "the " + english.ordinal(str(roman_value(m[1])))


def _roman_named(m: re.Match[str]) -> str | None:
    return None if m[1] in _NOT_ROMAN else english.cardinal(str(roman_value(m[1])))


def _roman_century(m: re.Match[str]) -> str:
    return english.ordinal(str(roman_value(m[1])))


def _alternation_behind(words: str) -> str:
    """Look-behinds must be of fixed width: one for each length of the words."""
    lengths: dict[int, list[str]] = {}
    for word in words.split("|"):
        lengths.setdefault(len(word.replace("\\", "")), []).append(word)
    return "(?:" + "|".join(f"(?<=\\b(?:{'|'.join(group)}) )" for _, group in sorted(lengths.items())) + ")"


# "6e23", "1.5E-3"; a capital E without a sign or a point is a code.
_SCIENTIFIC = r"(?<![\w.,])(\d{1,24}(?:\.\d{1,24})?)(?:e|(?<=\.\d)E|(?<=\.\d\d)E|E(?=[-+]))([-+]?)(\d{1,3})(?![\w]|\.\d)"


def _scientific_en(m: re.Match[str]) -> str:
    sign = "minus " if m[2] == "-" else ""
    return f"{english.number(m[1])} times ten to the power of {sign}{english.cardinal(str(int(m[3])))}"


def _scientific_zh(m: re.Match[str]) -> str:
    sign = "负" if m[2] == "-" else ""
    return f"{chinese.number(m[1])}乘十的{sign}{chinese.number(str(int(m[3])))}次方"


SCIENTIFIC_ENGLISH = (rule("math", _SCIENTIFIC, _scientific_en),)
SCIENTIFIC_CHINESE = (rule("math", _SCIENTIFIC, _scientific_zh),)

ROMAN_ENGLISH: tuple[Rule, ...] = (
    rule("roman numeral", _alternation_behind(_NUMBERED) + _ROMAN, _roman_numbered),
    rule("roman numeral", _alternation_behind(_NUMBERED.lower()) + _ROMAN, _roman_numbered),
    rule("roman numeral", _alternation_behind(_REGNAL) + _ROMAN, _roman_regnal),
    rule("roman numeral", r"(?<![A-Za-z0-9])" + _ROMAN + r"(?= [Cc]entur)", _roman_century),
    rule("roman numeral", r"(?<=[a-z] )(?<![a-z]{12} )" + _ROMAN + r"(?=$|[ .,;:!?)'-])",
         lambda m: _roman_named(m) if re.search(r"(?:^|[^A-Za-z])[A-Z][a-z]{1,14} $", m.string[max(0, m.start() - 18) : m.start()])
         and len(m[1]) > 1 else None),
)  # fmt: skip

ENGLISH: tuple[Rule, ...] = (
    rule(
        "ordinal",
        r"<S>(\d{1,15}|\d{1,3}(?:,\d{3})+)(?:st|nd|rd|th)(?![A-Za-z0-9])(?:-(?=[A-Za-z]))?",
        _ordinal_en,
        re.IGNORECASE,
    ),
    rule("cardinal", r"(?<![\w.,-])(\d{1,2})ers(?![A-Za-z])", _er_en),
    rule("decimal", r"(?<=[A-Za-z])(\d+(?:\.\d+)?)(?![0-9]|\.\d)", _glued_en),
    rule("decimal", r"(?<=[A-Za-z]/)(\d+(?:\.\d+)?)(?![0-9]|\.\d)", _glued_en),
    rule("decimal", r"(?<![\w.\ue000])()(\.\d+)(?![0-9]|\.\d)", _number_en),
    rule("cardinal", r"(?:(?<![\w)'\ue000-])([-+±]) ?)?<S><N>(?:-(?=[a-z]))?", _number_en),
    rule("cardinal", r"()(\d+(?:\.\d+)?)", _number_en),
)

# --- Chinese -------------------------------------------------------------------------------------------
# A hyphen after one of these names is silent, and no minus.
_NEGATIVE_BEFORE = re.compile(
    r"(?:^|[是为到至达约于在了降跌:,，;；(（'。!?=<>≤≥ ]|温度|气温|得分|零下|坐标|海拔|最低|最高|等于|大于|小于)$"
)


def _glued_zh(m: re.Match[str]) -> str:
    whole, point, _ = m[1].partition(".")
    if not point and len(whole) >= _SPELLED_AFTER_LETTERS:
        return chinese.spell(whole)
    return chinese.number(m[1])


def _signed_zh(m: re.Match[str]) -> str:
    sign = m[1] or ""
    spoken = chinese.count(m[2], after(m, 4).lstrip(" ")) if not sign else chinese.number(m[2])
    if sign == "-":
        lead = m.string[max(0, m.start() - 4) : m.start()]
        return ("负" if _NEGATIVE_BEFORE.search(lead) else "") + spoken
    return {"": "", "+": "加", "±": "正负"}[sign] + spoken


CHINESE: tuple[Rule, ...] = (
    rule("ordinal", r"(?<=第) ?(\d{1,24}(?:\.\d+)?)<->(\d{1,24})(?![0-9])",
         lambda m: f"{chinese.ordinal(m[1])}到{chinese.ordinal(m[2])}"),
    rule("ordinal", r"(?<=第) ?(\d{1,24}(?:\.\d+)?)(?![0-9]|\.\d)", lambda m: chinese.ordinal(m[1])),
    rule("ordinal", r"<S>(\d{1,6})(?:st|nd|rd|th)(?![A-Za-z0-9])", lambda m: "第" + chinese.ordinal(m[1])),
    rule("decimal", r"(?<=[A-Za-z])(\d+(?:\.\d+)?)(?![0-9]|\.\d)", _glued_zh),
    rule("decimal", r"(?<![\w.\ue000])(\.\d+)(?![0-9]|\.\d)", lambda m: chinese.number(m[1])),
    rule("cardinal", r"<S>(\d{2,9})\+(?![\w+=\ue000-])", lambda m: chinese.number(m[1]) + "多"),
    rule("cardinal", r"(?:(?<![A-Za-z0-9)\ue000])([-+±]) ?)?<S><N>", _signed_zh),
    rule("cardinal", r"()(\d+(?:\.\d+)?)", _signed_zh),
    rule("roman numeral", r"(?<![A-Za-z0-9])" + _ROMAN + "(?=[型级期类度世章])", lambda m: chinese.number(str(roman_value(m[1])))),
    rule("roman numeral", r"(?<=第)" + _ROMAN, lambda m: chinese.number(str(roman_value(m[1])))),
    rule("roman numeral", r"(?<=[\u4e00-\u9fff])" + _ROMAN.replace("(?![A-Za-z0-9]|", r"(?![A-Za-z0-9+-]|") +
         r"(?=[世号型级期章节卷部类]|$|[，。,. ])", lambda m: None if m[1] in _NOT_ROMAN | {"V", "X"} else chinese.number(str(roman_value(m[1])))),
)  # fmt: skip
