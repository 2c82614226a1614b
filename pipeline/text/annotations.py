"""Pronunciations written into a text for a model that reads phones: `<word|W ER1 D>`, in the phones of the CMU
dictionary with stress digits.

Syllables may be set apart by ` . `. Source of the notation: IndexTTS-2.5.
"""

import re

_OPEN, _BAR, _CLOSE = "\ue001\ue002\ue003"  # private use: cleaning removes them from every input
ANNOTATION = re.compile(f"{_OPEN}([^{_BAR}]*){_BAR}([^{_CLOSE}]*){_CLOSE}")  # the word, its phones
MAX_WORD = 100
MAX_PHONES = 300
_WRITTEN = re.compile(rf"<([^<>|\n\[\]()]{{1,{MAX_WORD}}})\|([A-Z0-2. ]{{1,{MAX_PHONES}}})>")
_SPACED = re.compile(r"[ .]+")

CONSONANTS = dict(
    zip(
        [
            "B",
            "CH",
            "D",
            "DH",
            "F",
            "G",
            "HH",
            "JH",
            "K",
            "L",
            "M",
            "N",
            "NG",
            "P",
            "R",
            "S",
            "SH",
            "T",
            "TH",
            "V",
            "W",
            "Y",
            "Z",
            "ZH",
        ],
        "bʧdðfɡhʤklmnŋpɹsʃtθvwjzʒ",
        strict=True,
    )
)
VOWELS = dict(
    zip(
        ["AA", "AE", "AO", "AW", "AY", "EH", "EY", "IH", "IY", "OW", "OY", "UH", "UW"],
        "ɑæɔWIɛAɪiOYʊu",
        strict=True,
    )
)
STRESSES = {"0": "", "1": "ˈ", "2": "ˌ", "": ""}
_FLAPPED = re.compile("(?<=[AIOWYiuæɑəɛɪʊʌɔɹ])t(?=[əɪiO])")


def phones_of(cmu: str) -> str:
    """The model's phones of CMU phones ("W ER1 D" is "wˈɜɹd"); ValueError names what is none."""
    found = []
    for phone in _SPACED.split(cmu.strip(" .")):
        vowel, stress = phone.rstrip("012"), phone[len(phone.rstrip("012")) :]
        if phone in CONSONANTS:
            found.append(CONSONANTS[phone])
        elif stress in STRESSES and vowel in VOWELS:
            found.append(STRESSES[stress] + VOWELS[vowel])
        elif stress in STRESSES and vowel in ("AH", "ER"):
            strong = {"AH": "ʌ", "ER": "ɜɹ"} if STRESSES[stress] else {"AH": "ə", "ER": "əɹ"}
            found.append(STRESSES[stress] + strong[vowel])
        else:
            known = ", ".join((*CONSONANTS, *VOWELS, "AH", "ER"))
            raise ValueError(f"{phone!r} is no CMU phone; allowed: {known}, vowels with 0, 1 or 2 after them")
    return _FLAPPED.sub("T", "".join(found))


def find_annotations(text: str) -> list[tuple[int, int, str]]:
    """Where the annotations of `text` stand, and each as the phone reader takes it (`ANNOTATION`).

    Raises ValueError for one whose phones are not CMU's; what does not look like one stays text.
    """
    return [(found.start(), found.end(), _marked(found)) for found in _WRITTEN.finditer(text)]


def mark_annotations(text: str) -> str:
    """`text` with its annotations as `find_annotations` has them."""
    return _WRITTEN.sub(_marked, text)


def _marked(found: re.Match[str]) -> str:
    try:
        return f"{_OPEN}{found[1].strip()}{_BAR}{phones_of(found[2])}{_CLOSE}"
    except ValueError as error:
        raise ValueError(f"the annotation {found[0][:40]!r}: {error}") from error


def without_annotations(text: str) -> str:
    """`text` with the bare word for every annotation."""
    return _WRITTEN.sub(r"\1", text)
