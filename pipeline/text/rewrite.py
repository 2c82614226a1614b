"""Common input that the grammars read wrongly or not at all, rewritten into a form they read right.

Each rule names what wetext 0.1.8 would make of the text without it.
"""

import re

from pipeline.text.characters import has_ideograph

_CONTRACTION = re.compile(r"\b(what|where|who|which|how|there|here|it|he|she|that|this)'s\b", re.IGNORECASE)

# Bare host names only under these: "stop.It works" and "so.me" are not addresses.
_TOP_LEVEL = "com|org|net|edu|gov|info|biz|dev|app|io|ai|cn|jp|kr|hk|tw|uk|eu|de|ru"
_LABELS = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_PATH = r"(?::[0-9]+)?(?:[/?#][A-Za-z0-9._~:/?#@!$&*+,;=%-]*)?"
_EMAIL = rf"[A-Za-z0-9._%+-]+@{_LABELS}\.[A-Za-z]+"
_ADDRESS = re.compile(
    rf"(?<![A-Za-z0-9@._%+/-])(?:"
    rf"https?://{_LABELS}{_PATH}|www\.{_LABELS}{_PATH}|{_EMAIL}|{_LABELS}\.(?:{_TOP_LEVEL})(?![A-Za-z0-9-]){_PATH})",
    re.IGNORECASE,
)
_WHOLE_EMAIL = re.compile(_EMAIL)
_TRAILING_MARKS = ".,;:!?'"
_ADDRESS_WORDS = {
    "en": {
        ".": "dot", "/": "slash", ":": "colon", "@": "at", "-": "dash", "_": "underscore", "?": "question mark",
        "=": "equal sign", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "*": "asterisk",
        "$": "dollar", "!": "exclamation mark", ",": "comma", ";": "semicolon",
    },
    "zh": {
        ".": "点", "/": "斜杠", ":": "冒号", "@": "艾特", "-": "杠", "_": "下划线", "?": "问号",
        "=": "等于", "&": "和", "#": "井号", "%": "百分号", "+": "加", "~": "波浪号", "*": "星号",
        "$": "美元", "!": "感叹号", ",": "逗号", ";": "分号",
    },
}  # fmt: skip
_ADDRESS_PART = re.compile(r"[A-Za-z]+|[0-9]+|.")
_ACRONYMS = frozenset({"http", "https", "www"})

_SEPARATED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)(?!,\d)")
_CURRENCY_ZH = {"$": "美元", "€": "欧元", "£": "英镑", "¥": "元"}
_NAMED_AMOUNT_ZH = re.compile(r"[$€£¥]\s?(\d+(?:\.\d+)?[十百千万亿]*)(?=[元块]|美元|欧元|英镑)")
_LARGE_AMOUNT_ZH = re.compile(r"([$€£¥])\s?(\d+(?:\.\d+)?[十百千万亿]+)")

_EITHER = (
    (re.compile(r"(?<=\d)\s?~\s?(?=\d)"), "-"),  # "3~5": "three tilde five"
    # "5€": wetext raises; "100$": the sign is lost
    (re.compile(r"(?<![\d.,$€£¥])(\d(?:[\d.,]*\d)?)\s?([$€£])(?!\d)"), r"\2\1"),
)
_ENGLISH = (
    (re.compile(r"(?<!\w)~\s?(?=\d)"), "about "),  # "~5": "approximatelyfive"
    (re.compile(r"(?<=\d)×(?=\d)"), "x"),  # wetext raises, as it does for "#5", "50+", "5é", "第5"
    (re.compile(r"(?<!\w)([#&*+/=@^_|])(?=\d)"), r"\1 "),
    (re.compile(r"(?<=\d)([#&*+/=@^_|])(?!\w)"), r" \1"),
    (re.compile(r"(?<=\d)(?=[^\x00-\x7f°℃℉…])|(?<=[^\x00-\x7f£¥€…])(?=\d)"), " "),
    (re.compile(r"(?<=\d)\s?-\s?(?=[$€£¥]\d)"), " to "),  # "$5-$10": "dollar five-dollar ten"
    (
        re.compile(r"([$€£¥]\d[\d.,]*)\s?/\s?(?=[A-Za-z])"),
        r"\1 per ",
    ),  # "$1,000/day": "one dollar,oh oh oh/day"
    (re.compile(r"(?<!\w)(1\d|20)([2-9])0s\b"), r"\1 '\g<2>0s"),  # "1990s": "… and ninety seconds"
    (re.compile(r"(?<!\w)(1\d|20)10s\b"), r"\1 tens"),
    (re.compile(r"(?<!\w)(1[1-9])00s\b"), r"\1 hundreds"),
    (re.compile(r"(?<!\w)2000s\b"), "two thousands"),
    (re.compile(r"(?<![\w.,:/$€£¥-])([1-9])000(?![\w:/-]|[.,]\d)"), r"\1,000"),  # "1000": "ten hundred"
)
_CHINESE = (
    (re.compile(r"约?(?<![A-Za-z0-9.])~\s?(?=\d)"), "约"),  # "~5个": the sign is not read
    # "$1,234.5": "one dollar, two hundred…"; "1,000,000元": "one, zero zero zero, …"
    (_SEPARATED, lambda match: match[0].replace(",", "")),
    (_NAMED_AMOUNT_ZH, r"\1"),  # "¥100元": "ten yuan zero yuan"
    (_LARGE_AMOUNT_ZH, lambda match: match[2] + _CURRENCY_ZH[match[1]]),  # "$1.5亿": the sign is not read
)
_REMAINING = ((re.compile("~"), "-"),)  # "hello~": "hello tilde"

_NUMBER_WORD = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred"
)
_THOUSAND = re.compile(rf"\b({_NUMBER_WORD}) thousand\b|\bthousand\b")

_LOOSE_HYPHEN = re.compile(r"(?<=[A-Za-z])- (?=[a-z])")


def is_email(text: str) -> bool:
    """Whether the whole of `text` is an e-mail address."""
    return _WHOLE_EMAIL.fullmatch(text.strip()) is not None


def expand_contractions(text: str) -> str:
    """`text` with "it's" as "it is", and so for question words, pronouns and here/there."""
    return _CONTRACTION.sub(r"\1 is", text)


def spell_addresses(text: str) -> str:
    """`text` with URLs, host names and e-mail addresses in words; their numbers are left to the grammars.

    wetext has its own reading, but gives an empty sentence for "go to example.com." and leaves addresses
    unread in Chinese. The words are Chinese where the text is.
    """
    words = _ADDRESS_WORDS["zh" if has_ideograph(text) else "en"]

    def spell(match: re.Match[str]) -> str:
        address = match[0].rstrip(_TRAILING_MARKS)
        parts = [
            part.upper() if part.lower() in _ACRONYMS else words.get(part, part)
            for part in _ADDRESS_PART.findall(address)
        ]
        return " ".join(parts) + match[0][len(address) :]

    return _ADDRESS.sub(spell, text)


def rewrite_for_grammar(text: str, language: str) -> str:
    """`text` with the spellings of the tables above replaced."""
    for pattern, replacement in (*_EITHER, *(_CHINESE if language == "zh" else _ENGLISH), *_REMAINING):
        text = pattern.sub(replacement, text)
    return text


def mend_english(read: str, source: str) -> str:
    """`read`, the English grammar's reading of `source`, with what it drops or adds put right.

    The "one" of 1,000-1,999 ("thousand two hundred") comes back, the space in "GPT- three point five"
    goes; each is left alone where `source` itself is written so.
    """
    if "thousand" not in source.lower():
        read = _THOUSAND.sub(lambda match: match[0] if match[1] else "one thousand", read)
    return read if "- " in source else _LOOSE_HYPHEN.sub("-", read)
