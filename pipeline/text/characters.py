"""Which characters reach the grammars and the tokenizer: cleaning, and the map before and after reading."""

import re
import unicodedata

# Never spoken: control, format (zero-width, bidi, soft hyphen, BOM), surrogate, private use, unassigned.
_REMOVED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACE_CATEGORIES = frozenset({"Zs", "Zl", "Zp"})
_SPACE_CONTROLS = frozenset("\t\n\v\f\r\x85")
# Combining marks that no precomposed letter took up: variation selectors, keycaps, "zalgo".
_MARK_CATEGORIES = frozenset({"Mn", "Me"})
# Emoji, dingbats, modifiers; and those among them that a grammar reads, which go only after reading.
_SYMBOL_CATEGORIES = frozenset({"So", "Sk"})
_READ_SYMBOLS = frozenset("°℃℉™®©^")

# A class body for regular expressions: the Chinese characters of every Unicode block.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")

# A full-width comma or semicolon stays until the numbers are read: "3，4" is a list, "3,400" a number.
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "，；"}
_QUOTES = '"“”„‟‘’‚‛`´«»‹›＂＇'
_BRACKETS = "[]{}［］｛｝【】「」『』《》〈〉〔〕"
_DASHES = "—–‒―−‐‑"

# Compatibility characters that no grammar knows, by what they stand for: ½ Ⅳ ① ㎡ ﬁ.
_COMPATIBLE_RANGES = ((0xBC, 0xBE), (0x2150, 0x217F), (0x2460, 0x249B), (0x3300, 0x33FF), (0xFB00, 0xFB06))
_POWERS = str.maketrans("23", "²³")


def _compatible(code: int) -> str:
    plain = unicodedata.normalize("NFKC", chr(code)).replace("\u2044", "/")
    if chr(code) in "㎟㎠㎡㎢㎣㎤㎥㎦":
        plain = plain.translate(_POWERS)
    return f" {plain}" if "/" in plain else plain


_COMPATIBLE = {
    code: _compatible(code) for first, last in _COMPATIBLE_RANGES for code in range(first, last + 1)
}

# Before: what no grammar reads as part of a number, a time or a telephone number. The backslash goes
# because wetext escapes it and returns it doubled.
_BEFORE = {
    **_COMPATIBLE,
    **_FULL_WIDTH,
    **{ord(c): "'" for c in _QUOTES + _BRACKETS},
    **{ord(c): "-" for c in _DASHES},
    ord("\\"): " ",
    ord("＼"): " ",
    ord("№"): "No. ",
    ord("￥"): "¥",
    ord("￡"): "£",
}
_AFTER = {
    **_BEFORE,
    **{ord(c): "," for c in "：:；;，、"},
    ord("。"): ".",
    ord("！"): "!",
    ord("？"): "?",
    **{ord(c): "-" for c in "·~〜"},
    **{ord(c): "'" for c in "()（）"},
}

_SPACES = re.compile(r" {2,}")
_ELLIPSIS = re.compile(r"\.{3,}|[,，]{3,}|…{2,}")
_HYPHENS = re.compile(r"-{2,}")
_REPEATED_MARK = re.compile(r"([!?.,'])\1{3,}")
# Rules drawn with symbols ("=====") and heaps of mixed marks are not spoken, and the English grammar is
# slow on them.
_DECORATION = re.compile(r"([_=*#+^|/<>@&%])\1{2,}")
_MARK_HEAP = re.compile(r"(?:[.,!?…':;()-] ?){8,}")


def clean(text: str) -> str:
    """`text` without characters that cannot be spoken or that confuse readers, spaces collapsed.

    Removes control, zero-width, bidirectional, private-use and surrogate characters and loose combining
    marks; turns every kind of white space, newlines included, into one space; composes accents (NFC).
    """
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if category in _SPACE_CATEGORIES or character in _SPACE_CONTROLS:
            kept.append(" ")
        elif category not in _REMOVED_CATEGORIES:
            kept.append(character)
    composed = unicodedata.normalize("NFC", "".join(kept))
    return collapse_spaces("".join(c for c in composed if unicodedata.category(c) not in _MARK_CATEGORIES))


def map_before(text: str) -> str:
    """Full-width forms, quotes, brackets and dashes in the one form that the grammars know.

    Runs of marks and symbols beyond what is spoken are cut: "!!!!!!!" to "!!!", "======" to a space.
    """
    text = _ELLIPSIS.sub("…", _without_symbols(text.translate(_BEFORE), keep=_READ_SYMBOLS))
    text = _DECORATION.sub(" ", _REPEATED_MARK.sub(r"\1\1\1", text))
    return collapse_spaces(_MARK_HEAP.sub(lambda heap: heap[0].replace(" ", "")[:3] + " ", text))


def map_after(text: str, language: str) -> str:
    """The punctuation the model was trained on: `, . ! ? ' - …`; symbols left without a reading go."""
    text = text.translate(_AFTER)
    if language == "zh":
        text = text.replace("$", ".")
    text = _HYPHENS.sub("-", _ELLIPSIS.sub("…", text))
    return collapse_spaces(_without_symbols(text, keep=frozenset()))


def collapse_spaces(text: str) -> str:
    """`text` without outer and repeated spaces (wetext raises on the latter)."""
    return _SPACES.sub(" ", text).strip(" ")


def has_ideograph(text: str) -> bool:
    """Whether `text` holds a Chinese character."""
    return _IDEOGRAPH.search(text) is not None


def is_speakable(text: str) -> bool:
    """Whether `text` holds a letter or a digit of any script."""
    return any(c.isalnum() for c in text)


def _without_symbols(text: str, keep: frozenset[str]) -> str:
    # A space takes the place of each, lest the digits of "5😀5" become one number.
    return "".join(c if c in keep or unicodedata.category(c) not in _SYMBOL_CATEGORIES else " " for c in text)
