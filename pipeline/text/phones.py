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
_RESPELLED = str.maketrans({";": ",", ":": ",", "ɾ": "T", "ʔ": "t", "ɚ": "əɹ", "a": "ɑ", "e": "A", "o": "O", "ɒ": "ɑ", "x": "k",
                            "r": "ɹ", "g": "ɡ", "c": "k", "q": "k", "y": "i", "Q": "O", "ʣ": "dz", "ʦ": "ts", "ʥ": "ʤ",
                            "ʨ": "ʧ", "β": "b", "ç": "h", "ø": "ɜ", "œ": "ɜ", "ɲ": "nj", "ɯ": "u", "χ": "h", "ɣ": "ɡ"})
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
