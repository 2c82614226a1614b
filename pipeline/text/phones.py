"""English text to phones: a pronouncing dictionary with parts of speech, and a small network for words it lacks.

The phones are those of misaki (as hibari-tts reads them), one character each: IPA, with A I O W Y for the diphthongs of
"face", "price", "goat", "mouth" and "choice", T for a flapped t, ᵊ and ᵻ for weak vowels. Axes: none.
"""

import functools
import re

VOWELS = "AIOWYiuæɑɐɔəɛɜɪʊʌᵊᵻ"
CONSONANTS = "Tbdfhjklmnpstvwzðŋɡɹʃʒʤʧθ"
STRESS = "ˈˌ"
PAUSES = ",.!?…—"
PHONES = VOWELS + CONSONANTS
WORD_START = "▁"
UNKNOWN = 2
SPECIAL = ("<start>", "<stop>", "<unknown>")  # the model's own ids 0, 1 and `UNKNOWN`
VOCABULARY = (*SPECIAL, WORD_START, *PAUSES, *CONSONANTS, *VOWELS, *(s + v for s in STRESS for v in VOWELS))
_PIECE = re.compile(f"[{STRESS}]?.")
_RESPELLED = str.maketrans(
    {
        ";": ",",
        ":": ",",
        "ɾ": "T",
        "ʔ": "t",
        "ɚ": "əɹ",
        "a": "ɑ",
        "e": "A",
        "o": "O",
        "ɒ": "ɑ",
        "x": "k",
        "r": "ɹ",
        "g": "ɡ",
        "c": "k",
        "q": "k",
        "y": "i",
        "Q": "O",
        "ʣ": "dz",
        "ʦ": "ts",
        "ʥ": "ʤ",
        "ʨ": "ʧ",
        "β": "b",
        "ç": "h",
        "ø": "ɜ",
        "œ": "ɜ",
        "ɲ": "nj",
        "ɯ": "u",
        "χ": "h",
        "ɣ": "ɡ",
    }
)
_OTHER = re.compile(f"[^{re.escape(PHONES + STRESS + PAUSES)} ]")
_STRAY_STRESS = re.compile(f"[{STRESS}](?![{VOWELS}])")
_SPACES = re.compile(r"\s+")


@functools.cache
def _reader():
    from hibari.g2p import G2P  # its dictionaries take a third of a second

    return G2P()


def read_phones(text: str) -> str:
    """Phones of normalized text: those of `PHONES`, `STRESS` marks right before vowels, `PAUSES` and single spaces."""
    return cleaned(_reader()(text, normalize_text=False))


def cleaned(phones: str) -> str:
    """Phones in the alphabet of this module; what has no place in it falls away."""
    phones = _OTHER.sub("", phones.translate(_RESPELLED))
    return _SPACES.sub(" ", _STRAY_STRESS.sub("", phones)).strip()


def to_pieces(phones: str) -> list[str]:
    """Phones as the model's tokens: a vowel with its stress is one, a space one of its own."""
    return _PIECE.findall(phones.replace(" ", WORD_START))


class PhoneTokenizer:
    """Phones as tokens, behind the interface of `tokenize.Tokenizer`."""

    def __init__(self) -> None:
        self._ids = {piece: index for index, piece in enumerate(VOCABULARY)}
        self.vocabulary_size = len(VOCABULARY)
        self.unknown_id = UNKNOWN

    def pieces(self, text: str) -> list[str]:
        """The pieces of normalized text."""
        return to_pieces(read_phones(text))

    def ids(self, pieces: list[str]) -> list[int]:
        """The token of each piece, `unknown_id` for those outside the vocabulary."""
        return [self._ids.get(piece, self.unknown_id) for piece in pieces]

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`."""
        return self.ids(self.pieces(text))
