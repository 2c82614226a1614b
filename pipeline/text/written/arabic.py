"""Arabic: number words and written forms. Digits are ASCII by then, whatever they were written in."""

import functools
import re

from num2words import num2words

from pipeline.text.written.addresses import address_rules
from pipeline.text.written.amounts import (
    AFTER,
    AMOUNT,
    BEFORE,
    CURRENCIES,
    CURRENCY,
    DASH,
    LONGEST_CARDINAL,
    TELEPHONE,
    parted,
)
from pipeline.text.written.rule import Rule, alternatives, before, rule

_DIGITS = ("صفر", "واحد", "اثنان", "ثلاثة", "أربعة", "خمسة", "ستة", "سبعة", "ثمانية", "تسعة")
_HOURS = ("الثانية عشرة", "الواحدة", "الثانية", "الثالثة", "الرابعة", "الخامسة", "السادسة", "السابعة", "الثامنة", "التاسعة", "العاشرة",
          "الحادية عشرة", "الثانية عشرة")  # fmt: skip
_MONTHS = (
    "يناير",
    "فبراير",
    "مارس",
    "أبريل",
    "مايو",
    "يونيو",
    "يوليو",
    "أغسطس",
    "سبتمبر",
    "أكتوبر",
    "نوفمبر",
    "ديسمبر",
)
# one, two, three to ten, more
_CURRENCY = {
    "dollar": ("دولار", "دولاران", "دولارات", "دولارا"), "euro": ("يورو", "يورو", "يورو", "يورو"),
    "pound": ("جنيه إسترليني", "جنيهان إسترلينيان", "جنيهات إسترلينية", "جنيها إسترلينيا"), "yen": ("ين", "ينان", "ينات", "ينا"),
    "yuan": ("يوان", "يوانان", "يوانات", "يوانا"),
}  # fmt: skip
_CENT = ("سنت", "سنتان", "سنتات", "سنتا")
_UNITS = {
    "km/h": ("كيلومتر في الساعة",) * 4, "كم/س": ("كيلومتر في الساعة",) * 4,
    "km": ("كيلومتر", "كيلومتران", "كيلومترات", "كيلومترا"), "كم": ("كيلومتر", "كيلومتران", "كيلومترات", "كيلومترا"),
    "m²": ("متر مربع", "متران مربعان", "أمتار مربعة", "مترا مربعا"), "م²": ("متر مربع", "متران مربعان", "أمتار مربعة", "مترا مربعا"),
    "m": ("متر", "متران", "أمتار", "مترا"), "cm": ("سنتيمتر", "سنتيمتران", "سنتيمترات", "سنتيمترا"),
    "سم": ("سنتيمتر", "سنتيمتران", "سنتيمترات", "سنتيمترا"), "mm": ("مليمتر", "مليمتران", "مليمترات", "مليمترا"),
    "kg": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"), "كغ": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"),
    "كجم": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"), "g": ("غرام", "غرامان", "غرامات", "غراما"),
    "ml": ("مليلتر", "مليلتران", "مليلترات", "مليلترا"), "L": ("لتر", "لتران", "لترات", "لترا"), "l": ("لتر", "لتران", "لترات", "لترا"),
    "°C": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"), "℃": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"),
    "°م": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"), "°": ("درجة", "درجتان", "درجات", "درجة"),
    "GB": ("غيغابايت",) * 4, "MB": ("ميغابايت",) * 4, "kB": ("كيلوبايت",) * 4, "TB": ("تيرابايت",) * 4,
}  # fmt: skip
_FEMININE = ("درجة", "دقيقة")
_ABBREVIATIONS = {
    "د.": "دكتور",
    "أ.د.": "الأستاذ الدكتور",
    "م.": "مهندس",
    "ص.ب.": "صندوق بريد",
    "إلخ.": "إلى آخره",
    "هـ": "هجرية",
}
_UNFEMININE = {
    "3": "ثلاث",
    "4": "أربع",
    "5": "خمس",
    "6": "ست",
    "7": "سبع",
    "8": "ثماني",
    "9": "تسع",
    "10": "عشر",
}
LETTER = "\u0621-\u064a\u064b-\u0652\u0670"


def spell(digits: str) -> str:
    """ "105" -> "واحد صفر خمسة"; what is no digit is left out."""
    return " ".join(_DIGITS[int(c)] for c in digits if c.isdigit())


@functools.lru_cache(4096)
def cardinal(digits: str) -> str:
    """ "25" -> "خمسة وعشرون"; leading zeros and long numbers digit by digit."""
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > LONGEST_CARDINAL:
        return spell(digits)
    words = re.sub(r"\s+", " ", num2words(int(digits), lang="ar")).strip().replace(" و ", " و")
    return re.sub(r"مئتا$", "مئتان", words)  # 200 by itself, not before what it counts


def number(written: str) -> str:
    """ "3.25" -> "ثلاثة فاصلة اثنان خمسة"."""
    whole, decimals = parted(written, ".")
    return cardinal(whole or "0") + (f" فاصلة {spell(decimals)}" if decimals else "")


def of(written: str, names: tuple[str, ...]) -> str:
    """So many of what has these names for one, two, a few and many."""
    whole, decimals = parted(written, ".")
    if decimals or len(whole) > LONGEST_CARDINAL:
        return f"{number(written)} {names[0]}"
    count = int(whole)
    if count in (1, 2) and names[0] != names[1]:
        return names[count - 1]
    last = count % 100
    said = cardinal(whole)
    if names[0].startswith(_FEMININE) and whole in _UNFEMININE:
        said = _UNFEMININE[whole]
    return f"{said} {names[2] if 3 <= last <= 10 else names[3] if last >= 11 else names[0]}"


def _money(amount: str, sign: str) -> str:
    names = _CURRENCY[CURRENCIES[sign]]
    whole, decimals = parted(amount, ".")
    if not decimals or len(decimals) > 2:
        return of(amount, names)
    cents = str(int(decimals.ljust(2, "0")))
    spoken = of(whole or "0", names)
    return spoken if cents == "0" else f"{spoken} و{of(cents, _CENT)}"


def _date(day: str, month: str, year: str) -> str | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{cardinal(str(int(day)))} {_MONTHS[int(month) - 1]} {cardinal(year)}"


_MINUTES = {0: "", 15: " والربع", 20: " والثلث", 30: " والنصف"}


def _time(m: re.Match[str]) -> str | None:
    hour, minute = int(m[1]), int(m[2])
    if hour > 24 or minute > 59:
        return None
    spoken = _HOURS[hour % 12] if hour else _HOURS[0]
    if minute in _MINUTES:
        spoken += _MINUTES[minute]
    else:
        spoken += " و" + of(str(minute), ("دقيقة", "دقيقتان", "دقائق", "دقيقة"))
    lead = "" if re.search(r"الساعة\s*$", before(m)) else "الساعة "
    return lead + spoken


def _fraction(m: re.Match[str]) -> str | None:
    names = {"1/2": "نصف", "1/3": "ثلث", "2/3": "ثلثان", "1/4": "ربع", "3/4": "ثلاثة أرباع", "1/5": "خمس"}
    return names.get(f"{int(m[1])}/{int(m[2])}") or f"{cardinal(m[1])} على {cardinal(m[2])}"


def _signed(m: re.Match[str]) -> str:
    return {"-": "سالب ", "+": "زائد ", "±": "زائد أو ناقص "}.get(m[1] or "", "") + number(m[2])


def _groups(written: str) -> str:
    return ("زائد " if "+" in written else "") + "، ".join(
        spell(group) for group in re.findall(r"\d+", written)
    )


_SIGNS = {
    ".": "نقطة", "/": "شرطة مائلة", ":": "نقطتان", "@": "آت", "-": "شرطة", "_": "شرطة سفلية", "?": "علامة استفهام", "=": "يساوي",
    "&": "و", "#": "هاشتاغ", "%": "بالمئة", "+": "زائد", "~": "تيلدا", "*": "نجمة", "$": "دولار", "!": "علامة تعجب", ",": "فاصلة",
    ";": "فاصلة منقوطة",
}  # fmt: skip
_UNIT = alternatives(_UNITS)
_OPERATORS = {"+": "زائد", "=": "يساوي", "×": "ضرب", "÷": "على"}
_WORD_END = f"(?![A-Za-z0-9{LETTER}])"

RULES: tuple[Rule, ...] = (
    rule("digits", r"(?<![0-9])\d{25,}", lambda m: spell(m[0])),
    *address_rules(_SIGNS, cardinal, spell),
    *(rule("abbreviation", rf"(?<![{LETTER}.]){re.escape(written)}{_WORD_END}", said) for written, said in
      sorted(_ABBREVIATIONS.items(), key=lambda item: -len(item[0]))),
    rule("date", r"(?<![\w.,/-])(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?![\w/-])", lambda m: _date(m[3], m[2], m[1])),
    rule("date", r"(?<![\w.,/-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/-])", lambda m: _date(m[1], m[3], m[4])),
    rule("time", r"(?<![\w.,:])(\d{1,2}):(\d\d)(?![0-9:])", _time),
    rule("telephone", TELEPHONE, lambda m: _groups(m[0])),
    rule("version", r"(?<![0-9.])\d{1,4}(?:\.\d{1,2}){2,6}(?![0-9]|\.\d)", lambda m: " نقطة ".join(map(cardinal, m[0].split(".")))),
    rule("percent", rf"{BEFORE}([-+]?)({AMOUNT}) ?%", lambda m: {"-": "سالب ", "+": "زائد ", "": ""}[m[1]] + number(m[2]) + " بالمئة"),
    rule("percent", rf"%({AMOUNT}){AFTER}", lambda m: number(m[1]) + " بالمئة"),
    rule("money", rf"{CURRENCY} ?({AMOUNT}){AFTER}", lambda m: _money(m[2], m[1])),
    rule("money", rf"{BEFORE}({AMOUNT}) ?{CURRENCY}(?![A-Za-z])", lambda m: _money(m[1], m[2])),
    rule("measure", rf"{BEFORE}(-?)({AMOUNT}) ?({_UNIT})(?![A-Za-z0-9²³/{LETTER}])", lambda m: ("سالب " if m[1] else "") + of(m[2], _UNITS[m[3]])),
    rule("fraction", r"(?<![\w.,/])(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)", _fraction),
    rule("ratio", r"(?<![\w.,:])(\d{1,4}):(\d{1,4})(?![\w:]|[.,]\d)", lambda m: f"{cardinal(m[1])} إلى {cardinal(m[2])}"),
    rule("range", rf"(?<![\w.,/-])({AMOUNT}){DASH}({AMOUNT})(?![\w/-]|[.,]\d)", lambda m: f"{number(m[1])} إلى {number(m[2])}"),
    rule("cardinal", rf"(?:(?<![\w)'\ue000-])([-+±]) ?)?{BEFORE}({AMOUNT}){AFTER}", _signed),
    rule("cardinal", r"()(\d+(?:[.,]\d+)?)", _signed),
    rule("sign", r" ?&(?! ?#) ?", " و"),
    rule("sign", rf"(?<=[\w\ue000){LETTER}]) ?([+=×÷]) ?(?=[\w\ue000({LETTER}])", lambda m: f" {_OPERATORS[m[1]]} "),
    rule("handle", r"(?<![A-Za-z0-9])@(?=[A-Za-z])", "آت "),
    rule("hashtag", rf"(?<![A-Za-z0-9&])#(?=[A-Za-z{LETTER}])", "هاشتاغ "),
    rule("sign", r"%", " بالمئة"),
)  # fmt: skip
