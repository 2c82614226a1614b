"""Pinyin with a tone digit ("XUAN4", "lü3"): finding it, and the spelling the model was trained on."""

import re
from collections.abc import Callable, Iterator

# Initial -> finals: the syllables of standard Mandarin, v standing for ü. The one-letter syllables a, e
# and o are left out: in text, "A4", "E5" and "O2" are a paper size, a motorway and oxygen.
_FINALS = {
    "": "ai an ang ao ei en eng er ou",
    "b": "a ai an ang ao ei en eng i ian iao ie in ing o u",
    "p": "a ai an ang ao ei en eng i ian iao ie in ing o ou u",
    "m": "a ai an ang ao e ei en eng i ian iao ie in ing iu o ou u",
    "f": "a an ang ei en eng iao o ou u",
    "d": "a ai an ang ao e ei en eng i ia ian iao ie ing iu ong ou u uan ui un uo",
    "t": "a ai an ang ao e ei eng i ian iao ie ing ong ou u uan ui un uo",
    "n": "a ai an ang ao e ei en eng i ia ian iang iao ie in ing iu ong ou u uan ue un uo v ve",
    "l": "a ai an ang ao e ei eng i ia ian iang iao ie in ing iu o ong ou u uan ue un uo v ve",
    "g": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "k": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "h": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "j": "i ia ian iang iao ie in ing iong iu u uan ue un v van ve vn",
    "q": "i ia ian iang iao ie in ing iong iu u uan ue un v van ve vn",
    "x": "i ia ian iang iao ie in ing iong iu u uan ue un v van ve vn",
    "zh": "a ai an ang ao e ei en eng i ong ou u ua uai uan uang ui un uo",
    "ch": "a ai an ang ao e en eng i ong ou u ua uai uan uang ui un uo",
    "sh": "a ai an ang ao e ei en eng i ou u ua uai uan uang ui un uo",
    "r": "an ang ao e en eng i ong ou u ua uan ui un uo",
    "z": "a ai an ang ao e ei en eng i ong ou u uan ui un uo",
    "c": "a ai an ang ao e ei en eng i ong ou u uan ui un uo",
    "s": "a ai an ang ao e en eng i ong ou u uan ui un uo",
    "y": "a an ang ao e i in ing o ong ou u uan ue un",
    "w": "a ai an ang ei en eng o u",
}
SYLLABLES = frozenset(initial + final for initial, finals in _FINALS.items() for final in finals.split())

# No Latin letter before, no further digit after: "babala2" and "gan34" are not pinyin.
_CANDIDATE = re.compile(r"(?<![A-Za-zÀ-ɏ])([A-Za-zÜü]{2,6})([1-5])(?![0-9])")


def replace_pinyin(text: str, replace: Callable[[str], str]) -> str:
    """`text` with each toned syllable, spelled for the model, passed through `replace`."""

    def visit(match: re.Match[str]) -> str:
        return replace(_spell(match[1]) + match[2]) if _is_syllable(match[1]) else match[0]

    return _CANDIDATE.sub(visit, text)


def pinyin_forms(text: str) -> Iterator[tuple[int, int, str]]:
    """Each toned syllable of `text`: its start, its end and its spelling for the model."""
    for match in _CANDIDATE.finditer(text):
        if _is_syllable(match[1]):
            yield match.start(), match.end(), _spell(match[1]) + match[2]


def spell_pinyin(text: str) -> str:
    """`text` with its toned syllables spelled for the model: "xuan4" is "XVAN4", "liao3" stays."""
    return replace_pinyin(text, lambda syllable: syllable)


def has_pinyin(text: str) -> bool:
    """Whether `text` holds a valid syllable with a tone digit 1-5."""
    return any(_is_syllable(match[1]) for match in _CANDIDATE.finditer(text))


def _is_syllable(letters: str) -> bool:
    return letters.lower().replace("ü", "v") in SYLLABLES


def _spell(letters: str) -> str:
    """After j, q, x the letter u is ü, which the model knows as V; other syllables keep their letters."""
    spelled = letters.upper().replace("Ü", "V")
    if spelled[0] in "JQX" and spelled[1] == "U":
        return spelled[0] + "V" + spelled[2:]
    return spelled if "V" in spelled else letters
