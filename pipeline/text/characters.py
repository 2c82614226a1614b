"""Which characters reach the grammars and the tokenizer: cleaning, and the map before and after reading."""

import re
import unicodedata

from pipeline.text.aligned import Aligned

# Never spoken: control, format (zero-width, bidi, soft hyphen, BOM), surrogate, private use, unassigned.
_REMOVED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACE_CATEGORIES = frozenset({"Zs", "Zl", "Zp"})
_SPACE_CONTROLS = frozenset("\t\n\v\f\r\x85")
# Combining marks that no precomposed letter took up: variation selectors, keycaps, "zalgo".
_MARK_CATEGORIES = frozenset({"Mn", "Me"})
_VOWEL_MARKS = frozenset(map(chr, (*range(0x64B, 0x656), 0x670)))  # of Arabic: how a word is said
# Emoji, dingbats, modifiers; and those among them that a grammar reads, which go only after reading.
_SYMBOL_CATEGORIES = frozenset({"So", "Sk"})
_ASCII = frozenset("+<=>|~$")
_READ_SYMBOLS = frozenset("°℃℉™®©^♂♀♥★↔")

# A class body for regular expressions: the Chinese characters of every Unicode block.
IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")

# A full-width comma or semicolon stays until the numbers are read: "3，4" is a list, "3,400" a number.
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if chr(code) not in "，；"}
_QUOTES = '"“”„‟‘’‚‛`´«»‹›＂＇'
_BRACKETS = "[]{}［］｛｝【】「」『』《》〈〉〔〕"
_DASHES = "—–‒―−‐‑⁃﹣"
_TILDES = "〜∼˜⁓"
_CRLF = re.compile("\r\n")
_LINE_ENDS = frozenset("\n\r\x85\u2028\u2029")
# A letter with its combining marks, or Hangul in parts.
_CLUSTER = re.compile(
    "[^\u0300-\u036f\u1160-\u11ff\u20d0-\u20ff\u3099\u309a](?:[\u0300-\u036f\u1160-\u11ff\u20d0-\u20ff\u3099\u309a]){1,30}|[^\x00-\x7f]"
)
# After a sentence's end an opening quote belongs to the next one.
_OPENING_QUOTE = re.compile(r"(?<=[.!?。！？…])[“‘「『【（(《]")
_OUTER_SPACES = re.compile(r"\A | \Z")
_LOOSE_MARK = re.compile(r" ([,.!?…](?= |$))")

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
    **{ord(c): "~" for c in _TILDES},
    ord("\\"): " ",
    ord("＼"): " ",
    **{ord(c): str(i) for i, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    ord("№"): "No. ",
    **dict(zip(map(ord, "٫٬٪"), ".,%", strict=True)),  # of Arabic numbers
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
    **{ord(c): " " for c in "_|*#^<>`"},
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
    return collapse_spaces(cleaned(text).text.replace("\n", " "))


def cleaned(text: str) -> Aligned:
    """As `clean`, with its alignment to `text`, every line end as a line feed and spaces not collapsed."""
    aligned = Aligned(text)
    if "\r" in text:
        aligned = aligned.sub(_CRLF, "\n")
    table: dict[int, str] = {}
    for character in set(aligned.text):
        category = unicodedata.category(character)
        if character in _LINE_ENDS:
            table[ord(character)] = "\n"
        elif category in _SPACE_CATEGORIES or character in _SPACE_CONTROLS:
            table[ord(character)] = " "
        elif category in _REMOVED_CATEGORIES:
            table[ord(character)] = ""
        elif category == "Nd" and not character.isascii():
            table[ord(character)] = str(unicodedata.decimal(character))
    if table:
        aligned = aligned.translated(table)
    if not unicodedata.is_normalized("NFC", aligned.text):
        aligned = aligned.sub(_CLUSTER, lambda match: unicodedata.normalize("NFC", match[0]))
    marks = {
        ord(c): ""
        for c in set(aligned.text)
        if unicodedata.category(c) in _MARK_CATEGORIES and c not in _VOWEL_MARKS
    }
    return aligned.translated(marks) if marks else aligned


def map_before(text: str) -> str:
    """Full-width forms, quotes, brackets and dashes in the one form that the rules and grammars know.

    Runs of marks and symbols beyond what is spoken are cut: "!!!!!!!" to "!!!", "======" to a space.
    """
    return mapped_before(Aligned(text)).text


def mapped_before(text: Aligned) -> Aligned:
    """As `map_before`, with the alignment kept."""
    text = text.sub(_OPENING_QUOTE, lambda match: " " + match[0]).translated(_BEFORE)
    text = without_symbols(text, keep=_READ_SYMBOLS)
    for pattern, replacement in ((_ELLIPSIS, "…"), (_REPEATED_MARK, r"\1\1\1"), (_DECORATION, " ")):
        text = text.sub(pattern, replacement)
    return collapsed(text.sub(_MARK_HEAP, lambda heap: heap[0].replace(" ", "")[:3] + " "))


def map_after(text: str, language: str) -> str:
    """The punctuation the model was trained on: `, . ! ? ' - …`; symbols left without a reading go."""
    return mapped_after(Aligned(text), language).text


def mapped_after(text: Aligned, language: str) -> Aligned:
    """As `map_after`, with the alignment kept."""
    text = text.translated({**_AFTER, ord("$"): "."} if language == "zh" else _AFTER)
    text = text.sub(_ELLIPSIS, "…").sub(_HYPHENS, "-")
    text = without_symbols(text, keep=_ASCII, categories=_SYMBOL_CATEGORIES | {"Sm", "Sc"})
    return collapsed(text).sub(_LOOSE_MARK, r"\1")


def collapsed(text: Aligned) -> Aligned:
    """As `collapse_spaces`, with the alignment kept."""
    return text.sub(_SPACES, " ").sub(_OUTER_SPACES, "")


def without_symbols(
    text: Aligned, keep: frozenset[str], categories: frozenset[str] = _SYMBOL_CATEGORIES
) -> Aligned:
    """`text` with a space for each symbol but those of `keep`, lest the digits of "5😀5" become one."""
    table = {ord(c): " " for c in set(text.text) if unicodedata.category(c) in categories and c not in keep}
    return text.translated(table) if table else text


def collapse_spaces(text: str) -> str:
    """`text` without outer and repeated spaces (wetext raises on the latter)."""
    return _SPACES.sub(" ", text).strip(" ")


def has_ideograph(text: str) -> bool:
    """Whether `text` holds a Chinese character."""
    return _IDEOGRAPH.search(text) is not None


def is_speakable(text: str) -> bool:
    """Whether `text` holds a letter or a digit of any script."""
    return any(c.isalnum() for c in text)
