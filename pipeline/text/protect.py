"""Spans the number grammars must not touch: hidden behind placeholders, put back afterwards."""

import re

from pipeline.text.characters import IDEOGRAPHS
from pipeline.text.pinyin import replace_pinyin

# Supplementary private-use characters: cleaning removes them from every input, and the grammars pass
# them through unchanged.
_FIRST = 0xF0000
_CAPACITY = 0xFFFE
_PLACEHOLDER = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + _CAPACITY - 1)}]")

# Look-behinds let a match start only where its run of characters starts, which keeps the search linear.
_NAME = re.compile(f"(?<![{IDEOGRAPHS}])[{IDEOGRAPHS}]+·[{IDEOGRAPHS}]+(?:[·-][{IDEOGRAPHS}]+)*")
_HYPHENATED = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")


class Shield:
    """Hidden spans of one text. A placeholder is one character; the spans come back in `restore`."""

    def __init__(self) -> None:
        self._spans: list[str] = []

    def hide(self, spoken: str) -> str:
        """The placeholder of `spoken`; past 65,534 spans, `spoken` itself, open to the grammars."""
        if len(self._spans) == _CAPACITY:
            return spoken
        self._spans.append(spoken)
        return chr(_FIRST + len(self._spans) - 1)

    def restore(self, text: str) -> str:
        """`text` with every placeholder replaced by its span."""
        return _PLACEHOLDER.sub(lambda match: self._spans[ord(match[0]) - _FIRST], text)


def placeholders(text: str) -> list[str]:
    """The placeholders in `text`, in order."""
    return _PLACEHOLDER.findall(text)


def hide_chinese_spans(text: str, shield: Shield) -> str:
    """`text` with toned pinyin, names written 汉字·汉字 and the hyphens of terms (GPT-5) hidden.

    Only for Chinese: its grammar reads "GPT-5" as "GPT minus five"; the English one keeps the hyphen.
    """
    text = replace_pinyin(text, shield.hide)
    text = _NAME.sub(lambda match: shield.hide(match[0]), text)
    hyphen = shield.hide("-")
    return _HYPHENATED.sub(lambda match: match[0].replace("-", hyphen), text)
