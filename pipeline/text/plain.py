"""Markup that is silent: Markdown, HTML and SSML tags, entities; and the ends of lines, which are ends of
sentences.
"""

import html
import re
from itertools import pairwise

from pipeline.text.aligned import Aligned
from pipeline.text.characters import cleaned, collapse_spaces, has_ideograph

_TAGS = frozenset(
    "a abbr b big blockquote body br button center cite code dd del details div dl dt em figure "
    "figcaption font footer form h1 h2 h3 h4 h5 h6 head header hr html i img input ins kbd label li "
    "link main mark meta nav ol option p pre q s samp script section select small span strike strong "
    "style sub summary sup table tbody td textarea tfoot th thead time title tr tt u ul var video audio "
    "source svg path "
    # SSML
    "speak voice prosody break emphasis say-as phoneme lexicon lang desc paragraph sentence w "
    "token mstts amazon".split()
)
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9-]{0,15})(?::[A-Za-z-]{1,24})?((?:[\s/][^<>]{0,300})?)>")
_ATTRIBUTES = re.compile(
    r"""(?:\s+[\w:.-]{1,40}\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)|\s+(?:checked|disabled|hidden))*\s*/?\s*"""
)
_BLOCKS = frozenset(
    [
        "br",
        "p",
        "div",
        "li",
        "tr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "table",
        "blockquote",
        "hr",
        "td",
        "th",
        "dt",
        "dd",
    ]
)
_COMMENT = re.compile(r"<!--[^<>]{0,2000}-->|<[!?][A-Za-z][^<>]{0,300}>")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,24});")

_BULLET = r"(?:[-*+•·▪◦‣●○■□➢➤►✓✔✗–—]|\(?[0-9]{1,3}[.)](?![0-9]))[ \t]+"
_LINE_START = re.compile(rf"(?:[ \t>]*(?:{_BULLET}|#{{1,6}}[ \t]|>|\|))")
_MARK_ENDS = frozenset(".!?。！？…:;,，；、：")
_IGNORED_ENDS = frozenset(" \t*_~`#'\"”’)）」』】]|=-")
_WRAPPED_LINE = 60  # a longer line of Latin script was broken by its width, not by its writer

_REMOVED = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^[ \t]*(?:`{3,}|~{3,})[A-Za-z0-9+#-]{0,20}[ \t]*$",  # code fences
        r"^[ \t]*(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|={3,}[ \t]*)$",  # rules
        r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*){0,40}\|?[ \t]*$",  # under a table's head
        r"^[ \t]*(?:>[ \t]?){1,8}",  # quotes
        r"^[ \t]*#{1,6}[ \t]+",  # headings
        r"(?<=[^#\n])[ \t]#{1,6}[ \t]*$",
        r"^[ \t]*[-*+•·▪◦‣●○■□➢➤►✓✔✗–—][ \t]+(?:\[[ xX]\][ \t]+)?",  # bullets
    )
)
# Emphasis: what is inside stays.
_EMPHASIS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(\*{2,3})(?=[^\s*])[^*\n]{1,500}(?<=[^\s*])(\1)",
        r"(?<![A-Za-z0-9_])(_{2,3})(?=[^\s_])[^_\n]{1,500}(?<=[^\s_])(\1)(?![A-Za-z0-9_])",
        r"(?<![A-Za-z0-9*)])(\*)(?=[^\s*0-9])[^*\n]{1,500}(?<=[^\s*])(\*)(?![A-Za-z0-9*])",
        r"(?<![A-Za-z0-9_])(_)(?=[^\s_])[^_\n]{1,500}(?<=[^\s_])(_)(?![A-Za-z0-9_])",
        r"(~~)(?=[^\s~])[^~\n]{1,500}(?<=[^\s~])(~~)",
        r"(?<!`)(`{1,2})(?=[^`])[^`\n]{1,500}(?<=[^`])(\1)(?!`)",
        r"(?<!=)(==)(?=[^\s=])[^=\n]{1,500}(?<=[^\s=])(==)(?!=)",
    )
)
_LINK = re.compile(
    r"(!?\[)([^\[\]\n]{0,300})(\]\([^()\s]{0,500}(?:[ \t]+\"[^\"\n]{0,100}\")?\)|\]\[[^\[\]\n]{0,80}\])"
)
_AUTOLINK = re.compile(r"(<)(?:https?://|mailto:)?[^<>\s]{1,300}(>)")
_CELL = re.compile(r"^[ \t]*\|.*$", re.MULTILINE)


def shown(written: str) -> str:
    """`written` as a reader sees it: one line without markup and what is not printed."""
    return collapse_spaces(strip_markup(cleaned(written), end_lines=False).text)


def strip_markup(text: Aligned, end_lines: bool = True) -> Aligned:
    """`text` (its line ends as line feeds) without markup, each line end a space or the end of a sentence."""
    text = text.sub(_COMMENT, " ").sub(_TAG, _tag).sub(_ENTITY, _entity)
    if end_lines:
        text = _end_lines(text)
    text = text.sub(_CELL, _row)
    for pattern in _REMOVED:
        text = text.sub(pattern, "")
    text = _without(text, _LINK, (1, 3))
    text = _without(text, _AUTOLINK, (1, 2), when=lambda m: "@" in m[0] or "://" in m[0])
    for pattern in _EMPHASIS:
        text = _without(text, pattern, (1, 2))
    return text.sub(re.compile(r"\n"), " ")


def _tag(match: re.Match[str]) -> str:
    name = match[1].lower()
    if name not in _TAGS or not _ATTRIBUTES.fullmatch(match[2]):
        return match[0]
    return "\n" if name in _BLOCKS else " " if name == "break" else ""


def _entity(match: re.Match[str]) -> str:
    character = html.unescape(match[0])
    return (
        character
        if character != match[0] and character.isprintable()
        else " "
        if character.isspace()
        else match[0]
    )


def _row(match: re.Match[str]) -> str:
    if not re.search(r"[^\s|:-]", match[0]):
        return ""
    return (
        ", ".join(
            cell.strip() for cell in match[0].replace("。", "").strip(" \t|.").split("|") if cell.strip()
        )
        + "."
    )


def _without(
    text: Aligned, pattern: re.Pattern[str], groups: tuple[int, int], when=lambda match: True
) -> Aligned:
    edits = []
    for match in pattern.finditer(text.text):
        if when(match):
            edits += [(match.start(group), match.end(group), "") for group in groups]
    return text.edited(edits)


def _end_lines(text: Aligned) -> Aligned:
    """A mark at the end of each line that has none and does not go on in the next one."""
    lines = text.text.split("\n")
    edits, end = [], -1
    for line, following in pairwise(lines):
        end += len(line) + 1
        if not following.strip():
            continue
        last = len(line)
        while last and line[last - 1] in _IGNORED_ENDS:
            last -= 1
        if not last or line[last - 1] in _MARK_ENDS or not any(c.isalnum() for c in line[:last]):
            continue
        if _goes_on(line, following):
            continue
        edits.append((end, end, "。" if has_ideograph(line[last - 1]) else "."))
    return text.edited(edits)


def _goes_on(line: str, following: str) -> bool:
    if _LINE_START.match(following) or re.match(r"[ \t]*#{1,6}[ \t]", line):
        return False
    if re.fullmatch(r"[ \t]*[=-]{3,}[ \t]*", following):
        return False
    first = following.lstrip(" \t*_~`'\"“‘(（")[:1]
    return first.islower() or (len(line) >= _WRAPPED_LINE and not has_ideograph(line))
