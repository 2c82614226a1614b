"""URLs, host names, e-mail addresses, file names, hashtags and handles: said sign by sign."""

import re
from collections.abc import Callable

from pipeline.text.written import chinese, english
from pipeline.text.written.rule import Rule, rule

# Bare host names only under these: "stop.It works" and "so.me" are not addresses.
_TOP = (
    "com|org|net|edu|gov|info|biz|dev|app|io|ai|cn|jp|kr|hk|tw|uk|eu|de|ru|fr|ca|au|in|co|me|tv|xyz|int|mil"
)
_SUFFIX = (
    "txt|pdf|docx?|xlsx?|pptx?|csv|tsv|json|ya?ml|toml|ini|cfg|conf|xml|html?|css|js|ts|jsx|tsx|py|ipynb|java|cpp|"
    "hpp|rs|go|rb|php|sh|bat|ps1|exe|dll|zip|tar|gz|bz2|7z|rar|png|jpe?g|gif|svg|webp|bmp|ico|mp3|mp4|wav|flac|ogg|"
    "m4a|mov|avi|mkv|webm|md|rst|tex|log|sql|db|bin|iso|apk|dmg|deb|rpm|lock|env|safetensors|onnx|pth|pt"
)
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_LABELS = rf"{_LABEL}(?:\.{_LABEL}){{0,12}}"
_PATH = r"(?::[0-9]{1,5}(?![0-9]))?(?:[/?#][A-Za-z0-9._~:/?#@!$&*+,;=%-]*)?"
EMAIL = rf"[A-Za-z0-9._%+-]{{1,64}}@{_LABELS}\.[A-Za-z]{{2,24}}"
_BOUND = r"(?<![A-Za-z0-9@._%+/-])"
_PATTERNS = {
    "url": rf"{_BOUND}(?:(?:https?|ftp)://{_LABELS}|www\.{_LABELS}|{_LABELS}\.(?:{_TOP})(?![A-Za-z0-9_-]|\.[A-Za-z0-9]))"
    rf"{_PATH}",
    "e-mail": rf"{_BOUND}{EMAIL}",
    "path": r"(?<![\w./<~])(?:~(?:/[A-Za-z0-9._-]{1,63}){1,12}|(?:/[A-Za-z0-9._-]{1,63}){2,12})(?![\w/])",
    "file name": rf"{_BOUND}(?:[A-Za-z]:)?(?:[/~]{{0,2}}{_LABEL}/){{0,12}}{_LABELS}\.(?:{_SUFFIX})(?![A-Za-z0-9_-]|\.[A-Za-z0-9])",
}
_SIGNS_EN = {
    ".": "dot", "/": "slash", ":": "colon", "@": "at", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equal sign", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "*": "asterisk",
    "$": "dollar", "!": "exclamation mark", ",": "comma", ";": "semicolon",
}  # fmt: skip
_SIGNS_ZH = {
    ".": "点", "/": "斜杠", ":": "冒号", "@": "艾特", "-": "杠", "_": "下划线", "?": "问号", "=": "等于", "&": "和",
    "#": "井号", "%": "百分号", "+": "加", "~": "波浪号", "*": "星号", "$": "美元", "!": "感叹号", ",": "逗号", ";": "分号",
}  # fmt: skip
_PART = re.compile(r"[A-Za-z]+|[0-9]+|.")
_ACRONYMS = frozenset({"http", "https", "ftp", "www"})
_ENDING_MARKS = ".,;:!?'"
_CARDINAL_DIGITS = 2  # longer numbers in an address are said digit by digit


def is_email(text: str) -> bool:
    """Whether the whole of `text` is an e-mail address."""
    return re.fullmatch(EMAIL, text.strip(), re.ASCII) is not None


def _speller(signs: dict[str, str], cardinal: Callable[[str], str], spell: Callable[[str], str]):
    def say(address: str) -> str:
        words = []
        for part in _PART.findall(address):
            if part.isdigit():
                words.append(cardinal(part) if len(part) <= _CARDINAL_DIGITS else spell(part))
            else:
                words.append(part.upper() if part.lower() in _ACRONYMS else signs.get(part, part))
        return " ".join(words)

    def read(match: re.Match[str]) -> str:
        address = match[0].rstrip(_ENDING_MARKS)
        return say(address) + match[0][len(address) :]

    return read


def address_rules(
    signs: dict[str, str], cardinal: Callable[[str], str], spell: Callable[[str], str]
) -> tuple[Rule, ...]:
    """Addresses said in a language that has these words for their signs and numbers."""
    return _rules(_speller(signs, cardinal, spell))


def _rules(read: Callable[[re.Match[str]], str]) -> tuple[Rule, ...]:
    return tuple(rule(kind, pattern, read, re.IGNORECASE) for kind, pattern in _PATTERNS.items())


ENGLISH = (
    *address_rules(_SIGNS_EN, english.cardinal, english.spell),
    rule("hashtag", r"(?<![A-Za-z0-9&])#(?=[A-Za-z])", "hashtag "),
    rule("handle", r"(?<![A-Za-z0-9])@(?=[A-Za-z])", "at "),
    rule("file name", rf"(?<![\w.])\.(?=(?:NET|{_TOP}|{_SUFFIX})(?![A-Za-z0-9]))", "dot "),
)
CHINESE = (
    *address_rules(_SIGNS_ZH, chinese.cardinal, chinese.spell),
    rule("hashtag", r"#(?=[^#\s\d][^#\s]{0,30}#)", ""),  # the one that closes is silent anyway
    rule("handle", r"(?<![A-Za-z0-9])@(?=[^\s\d])", "艾特"),
    rule("file name", rf"(?<![\w.])\.(?=(?:NET|{_TOP}|{_SUFFIX})(?![A-Za-z0-9]))", "点"),
)
