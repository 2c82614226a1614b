"""Names and rare words that hibari-tts's dictionary lacks: those of the CMU Pronouncing Dictionary that its network
reads otherwise ("Yosemite", "Chirac"). `names.txt.gz` has a word and its CMU phones per line, made by
`training.names`."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path

from pipeline.text.annotations import phones_of

FILE = Path(__file__).with_name("names.txt.gz")
POSSESSIVE = "'s"
_HISSING, _VOICELESS = "szʃʒʧʤ", "ptkfθ"


@functools.cache
def pronunciations() -> dict[str, str]:
    """CMU phones by word, in small letters."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return dict(line.rstrip("\n").split(" ", 1) for line in lines)


def read_name(word: str) -> str | None:
    """The phones of a word or of its possessive; None for one that is not here."""
    word = word.lower().replace("’", "'")
    known = pronunciations()
    if word in known:
        return phones_of(known[word])
    if word.endswith(POSSESSIVE) and word.removesuffix(POSSESSIVE) in known:
        phones = phones_of(known[word.removesuffix(POSSESSIVE)])
        if phones[-1] in _HISSING:
            return phones + "ᵻz"
        return phones + ("s" if phones[-1] in _VOICELESS else "z")
    return None


class NamesFirst:
    """Reads a word that the dictionary lacks: from here, else by what `network` makes, which is asked for when it is
    first needed."""

    def __init__(self, network: Callable[[], Callable[[str], str]]):
        self.network = functools.cache(network)

    def __call__(self, word: str) -> str:
        return read_name(word) or self.network()(word)
