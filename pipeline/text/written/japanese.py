"""Japanese: number words and written forms. Numbers become kanji numerals, whose reading beside a counter the model knows."""

import functools
import re

from num2words import num2words

from pipeline.text.written.addresses import address_rules
from pipeline.text.written.amounts import CURRENCIES, LONGEST_CARDINAL
from pipeline.text.written.rule import NUMBER, Rule, alternatives, rule

_DIGITS = "ゼロ 一 二 三 四 五 六 七 八 九".split()
_CURRENCY = {"dollar": ("ドル", "セント"), "euro": ("ユーロ", "セント"), "pound": ("ポンド", "ペンス"), "yen": ("円", ""),
             "yuan": ("元", "")}  # fmt: skip
_UNITS = {
    "km/h": "キロメートル毎時", "km²": "平方キロメートル", "m²": "平方メートル", "m³": "立方メートル", "km": "キロメートル", "cm": "センチメートル",
    "mm": "ミリメートル", "m": "メートル", "kg": "キログラム", "mg": "ミリグラム", "g": "グラム", "t": "トン", "ml": "ミリリットル", "mL": "ミリリットル",
    "L": "リットル", "l": "リットル", "°C": "度", "℃": "度", "°F": "度", "°": "度", "kWh": "キロワット時", "kW": "キロワット", "W": "ワット",
    "kHz": "キロヘルツ", "MHz": "メガヘルツ", "GHz": "ギガヘルツ", "Hz": "ヘルツ", "GB": "ギガバイト", "MB": "メガバイト", "KB": "キロバイト",
    "kB": "キロバイト", "TB": "テラバイト", "ha": "ヘクタール", "kcal": "キロカロリー", "min": "分", "h": "時間",
}  # fmt: skip


def spell(digits: str) -> str:
    """ "105" -> "一ゼロ五"; what is no digit is left out."""
    return "".join(_DIGITS[int(c)] for c in digits if c.isdigit())


@functools.lru_cache(4096)
def cardinal(digits: str) -> str:
    """ "1,500" -> "千五百"; leading zeros and long numbers digit by digit."""
    digits = digits.replace(",", "")
    if (len(digits) > 1 and digits[0] == "0") or len(digits) > LONGEST_CARDINAL:
        return spell(digits)
    return _DIGITS[0] if int(digits) == 0 else num2words(int(digits), lang="ja")


def number(written: str) -> str:
    """ "3.14" -> "三点一四"."""
    whole, _, decimals = written.partition(".")
    return cardinal(whole or "0") + (f"点{spell(decimals)}" if decimals else "")


def _short(digits: str) -> str:
    return cardinal(str(int(digits)))


def _date(year: str, month: str, day: str) -> str | None:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    return f"{_short(year)}年{_short(month)}月{_short(day)}日"


def _time(m: re.Match[str]) -> str | None:
    if int(m[1]) > 24 or int(m[2]) > 59 or int(m[3] or 0) > 59:
        return None
    spoken = f"{_short(m[1])}時" + (f"{_short(m[2])}分" if int(m[2]) or m[3] else "")
    return spoken + (f"{_short(m[3])}秒" if m[3] else "")


def _money(amount: str, sign: str, scale: str | None) -> str:
    unit, cent = _CURRENCY[CURRENCIES[sign]]
    whole, _, decimals = amount.partition(".")
    if scale or not cent or len(decimals) != 2:
        return f"{number(amount)}{scale or ''}{unit}"
    cents = f"{_short(decimals)}{cent}" if int(decimals) else ""
    return f"{cardinal(whole)}{unit}{cents}"


def _signed(m: re.Match[str]) -> str:
    return {"-": "マイナス", "+": "プラス", "±": "プラスマイナス"}.get(m[1] or "", "") + number(m[2])


def _groups(written: str) -> str:
    return ("プラス" if "+" in written else "") + "の".join(
        spell(group) for group in re.findall(r"\d+", written)
    )


_SIGNS = {
    ".": "ドット", "/": "スラッシュ", ":": "コロン", "@": "アットマーク", "-": "ハイフン", "_": "アンダーバー", "?": "はてな", "=": "イコール",
    "&": "アンド", "#": "シャープ", "%": "パーセント", "+": "プラス", "~": "チルダ", "*": "アスタリスク", "$": "ドル", "!": "びっくりマーク",
    ",": "カンマ", ";": "セミコロン",
}  # fmt: skip
_UNIT = alternatives(_UNITS)
_START = r"(?<![A-Za-z0-9_])(?<![0-9][.,/:])"
_END = r"(?![0-9]|[.,][0-9])"
_SCALE = r"([万億兆千百]{1,2})?"
_SIGN = r"(US\$|\$|€|£|¥)"
_OPERATORS = {"+": "たす", "=": "は", "×": "かける", "÷": "わる"}
_COUNTER = "年月日時分秒円人個本枚台回歳才度階号点名匹冊杯番週階件社校カヶか%％万億兆"

RULES: tuple[Rule, ...] = (
    rule("digits", r"(?<![0-9])\d{25,}", lambda m: spell(m[0])),
    *address_rules(_SIGNS, cardinal, spell),
    rule("date", r"(?<![A-Za-z0-9.])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?![0-9-]|\.\d)", lambda m: _date(m[1], m[3], m[4])),
    rule("date", r"(?<![A-Za-z0-9.])(\d{1,2})/(\d{1,2})(?=\()", lambda m: f"{_short(m[1])}月{_short(m[2])}日"),
    rule("time", r"(?<![A-Za-z0-9.:])(\d{1,2}):(\d\d)(?::(\d\d))?(?![0-9:])", _time),
    rule("telephone", r"(?<![\w.,/-])\+?\d{2,5}-\d{1,4}-\d{3,4}(?![\w-])|(?<![\w.,/-])0\d{5,19}(?![\w.,:/-])", lambda m: _groups(m[0])),
    rule("version", r"(?<![0-9.])\d{1,4}(?:\.\d{1,5}){2,6}(?![0-9]|\.\d)", lambda m: "点".join(map(cardinal, m[0].split(".")))),
    rule("percent", rf"{_START}([-+]?)({NUMBER}) ?%", lambda m: _signed(m) + "パーセント"),
    rule("money", rf"{_SIGN} ?({NUMBER}){_END}{_SCALE}", lambda m: _money(m[2], m[1], m[3])),
    rule("money", rf"{_START}({NUMBER}){_SCALE} ?{_SIGN}", lambda m: _money(m[1], m[3], m[2])),
    rule("measure", rf"{_START}([-]?)({NUMBER}) ?({_UNIT})(?![A-Za-z0-9²³/])", lambda m: _signed(m) + _UNITS[m[3]]),
    rule("fraction", r"(?<![\w.,/])(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)", lambda m: f"{cardinal(m[2])}分の{cardinal(m[1])}"),
    rule("ratio", r"(?<![\w.,:])(\d{1,4}):(\d{1,4})(?![\w:]|[.,]\d)", lambda m: f"{cardinal(m[1])}対{cardinal(m[2])}"),
    rule("range", rf"(?<![\w.,/-])({NUMBER})(?= ?(?:-{{1,2}}|~) ?\d{{1,12}}(?![\d-]))([{_COUNTER}]?) ?(?:-{{1,2}}|~) ?(?=\d)", lambda m: f"{number(m[1])}から"),
    rule("range", rf"(?<=[{_COUNTER}]) ?(?:-{{1,2}}|~) ?(?=\d)", "から"),
    rule("cardinal", rf"(?:(?<![\w)'\ue000-])([-+±]) ?)?{_START}({NUMBER}){_END}", _signed),
    rule("cardinal", r"()(\d+(?:\.\d+)?)", _signed),
    rule("sign", r" ?&(?! ?#) ?", "アンド"),
    rule("sign", r"(?<=[\w\ue000)]) ?([+=×÷]) ?(?=[\w\ue000(])", lambda m: _OPERATORS[m[1]]),
    rule("handle", r"(?<![A-Za-z0-9])@(?=[A-Za-z])", "アット"),
    rule("hashtag", r"(?<![A-Za-z0-9&])#(?=\S)", "ハッシュタグ"),
    rule("sign", r"%", "パーセント"),
)  # fmt: skip
