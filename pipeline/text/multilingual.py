"""Text to the tokens of IndexTTS-2.5: byte-level BPE behind a language tag, with special tokens.

The vocabulary is a published file of ranks, one base64 token and its rank a line (tiktoken's format). The special
tokens are not in it: they follow its ranks in a fixed order.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".tiktoken"
# Whisper's languages in its order, then those of CosyVoice; the index is the row of the GPT's language embedding.
LANGUAGES = [
    "en",
    "zh",
    "de",
    "es",
    "ru",
    "ko",
    "fr",
    "ja",
    "pt",
    "tr",
    "pl",
    "ca",
    "nl",
    "ar",
    "sv",
    "it",
    "id",
    "hi",
    "fi",
    "vi",
    "he",
    "uk",
    "el",
    "ms",
    "cs",
    "ro",
    "da",
    "hu",
    "ta",
    "no",
    "th",
    "ur",
    "hr",
    "bg",
    "lt",
    "la",
    "mi",
    "ml",
    "cy",
    "sk",
    "te",
    "fa",
    "lv",
    "bn",
    "sr",
    "az",
    "sl",
    "kn",
    "et",
    "mk",
    "br",
    "eu",
    "is",
    "hy",
    "ne",
    "mn",
    "bs",
    "kk",
    "sq",
    "sw",
    "gl",
    "mr",
    "pa",
    "si",
    "km",
    "sn",
    "yo",
    "so",
    "af",
    "oc",
    "ka",
    "be",
    "tg",
    "sd",
    "gu",
    "am",
    "yi",
    "lo",
    "uz",
    "fo",
    "ht",
    "ps",
    "tk",
    "nn",
    "mt",
    "sa",
    "lb",
    "my",
    "bo",
    "tl",
    "mg",
    "as",
    "tt",
    "haw",
    "ln",
    "ha",
    "ba",
    "jw",
    "su",
    "yue",
    "minnan",
    "wuyu",
    "dialect",
    "zh/en",
    "en/zh",
    "common",
]
LANGUAGE_ROWS = {name: row for row, name in enumerate(LANGUAGES)}
OTHER = "common"  # of a tag that is none of them
TAGGED = 99  # of the languages have a token: the first
SPECIAL_TOKENS = (
    ["endoftext", "startoftranscript"]
    + LANGUAGES[:TAGGED]
    + [
        "ASR",
        "AED",
        "SER",
        "Speech",
        "/Speech",
        "BGM",
        "/BGM",
        "Laughter",
        "/Laughter",
        "Applause",
        "/Applause",
    ]
    + [
        "HAPPY",
        "SAD",
        "ANGRY",
        "NEUTRAL",
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    ]
    + [f"SPECIAL_TOKEN_{index}" for index in range(1, 31)]
    + [f"TTS/{name}" for name in ["B", "O", "Q", "A", "CO", "CL", "H"]]
    + [f"TTS/SP{index:02d}" for index in range(1, 14)]
    + [f"{index * 0.02:.2f}" for index in range(1501)]
)
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BYTES = 256  # the first ranks are the single bytes
# What the GPT takes as the start and the stop of the text; two bytes have these ranks and are not heard.
DROPPED_IDS = frozenset({0, 1})
EMPTY = b"="  # how the published file writes its token without a byte
_SPECIAL = re.compile(r"<\|[^|<]*\|>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def kept_ids(ids: Sequence[int]) -> list[int]:
    """`ids` without those that would start or stop the text."""
    return [token for token in ids if token not in DROPPED_IDS]


def language_row(language: str) -> int:
    """The row of the language embedding for a tag, in any case."""
    return LANGUAGE_ROWS.get(language.lower(), LANGUAGE_ROWS[OTHER])


def read_ranks(path: Path) -> dict[bytes, int]:
    """The tokens of a vocabulary file with their ranks. Raises ValueError saying what is wrong with it."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ValueError(f"cannot read the vocabulary {path.name}: {error.strerror}") from error
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=token != EMPTY)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"{path.name} line {number} is no token in base64 and its rank") from error
    if len(ranks) < len(lines) or sorted(ranks.values()) != list(range(len(lines))):
        raise ValueError(
            f"{path.name}: its {len(lines):,} tokens are not ranked 0, 1, 2 … without gap or double"
        )
    if {token[0] for token, rank in ranks.items() if rank < BYTES and len(token) == 1} != set(range(BYTES)):
        raise ValueError(f"{path.name}: its first {BYTES} tokens are not the single bytes")
    return ranks


class MultilingualTokenizer:
    """A published vocabulary with the special tokens behind it. No text is unknown to it: what is not in the
    vocabulary is its bytes."""

    def __init__(self, path: str | Path) -> None:
        """Load the vocabulary file `path`; ValueError if it is missing, truncated or no vocabulary, or if the package
        that reads it is missing."""
        try:
            import tiktoken  # on first use: the other model does without it
        except ImportError as error:
            raise ValueError(
                f"{Path(path).name} needs the package tiktoken (requirements-2.5.txt)"
            ) from error
        ranks = read_ranks(Path(path))
        self.special = {f"<|{name}|>": len(ranks) + offset for offset, name in enumerate(SPECIAL_TOKENS)}
        self._encoding = tiktoken.Encoding(
            Path(path).stem, pat_str=PIECES, mergeable_ranks=ranks, special_tokens=self.special
        )
        self.vocabulary_size: int = len(ranks) + len(SPECIAL_TOKENS)
        self.name = Path(path).name

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, special ones recognized anywhere in it."""
        # a set of all special tokens would be converted anew in every call
        special = {token for token in _SPECIAL.findall(text) if token in self.special}
        try:
            return self._encoding.encode(text, allowed_special=special, disallowed_special=())
        except UnicodeEncodeError:  # a lone surrogate
            return self.encode(_SURROGATE.sub(_REPLACEMENT, text))

    def tagged(self, text: str, language: str) -> list[int]:
        """The tokens of `text` behind the tag of its language, in one call: its first letter takes up the space."""
        return self.encode(prefix(language) + text)


def is_multilingual(vocabulary: str | Path) -> bool:
    """Whether a vocabulary file is of this kind, by its name."""
    return Path(vocabulary).suffix == SUFFIX


def prefix(language: str) -> str:
    """What stands before every segment."""
    return f"<|{language.lower()}|> "
