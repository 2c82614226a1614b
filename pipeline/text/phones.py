"""English text to phones: hibari-tts's pronouncing dictionary, its parts of speech for what is spelled alike, and for
words that the dictionary lacks the names of `names.py`, else its small network.

The phones are misaki's, one character each: IPA, with A I O W Y for the diphthongs of "face", "price", "goat", "mouth"
and "choice", T for a flapped t, ᵊ and ᵻ for weak vowels. A stress mark stands right before its vowel.
"""

import functools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pipeline.text.aligned import Aligned
from pipeline.text.annotations import ANNOTATION
from pipeline.text.characters import is_speakable
from pipeline.text.names import NamesFirst
from pipeline.text.tokenize import WORD_START

VOWELS = "AIOWYiuæɑɐɔəɛɜɪʊʌᵊᵻ"
CONSONANTS = "Tbdfhjklmnpstvwzðŋɡɹʃʒʤʧθ"
STRESS = "ˈˌ"
PAUSES = ",.!?…—"
PHONES = VOWELS + CONSONANTS
UNKNOWN = "<unknown>"
SPECIAL = ("<start>", "<stop>", UNKNOWN)  # the first two are the GPT's own
VOCABULARY = (*SPECIAL, WORD_START, *PAUSES, *CONSONANTS, *VOWELS, *(s + v for s in STRESS for v in VOWELS))
LONGEST_WORD = 32  # letters; longer ones are read in parts, as the network hears no more at a time

# What other phone alphabets and the network write, in this one.
_RESPELLED = str.maketrans(
    dict(zip(";:ɾʔaeoɒxrgcqyQβçøœɯχɣ", ",,TtɑAOɑkɹɡkkiObhɜɜuhɡ", strict=True))
    | {"ɚ": "əɹ", "ʣ": "dz", "ʦ": "ts", "ʥ": "ʤ", "ʨ": "ʧ", "ɲ": "nj"}
)
_OTHER = re.compile(f"[^{re.escape(PHONES + STRESS + PAUSES)} ]")
_STRAY_STRESS = re.compile(f"[{STRESS}](?![{VOWELS}])")
_SPACES = re.compile(r"\s+")
_PIECE = re.compile(f"[{STRESS}]?.")
_SENTENCE = re.compile(r"[^.!?…]+")
_LONG_WORD = re.compile(rf"[^\W\d_]{{{LONGEST_WORD + 1},}}")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Word:
    """A word or mark of the text, the white space after it, and its pieces."""

    text: str
    pieces: list[str]


@functools.cache
def _reader():
    try:
        from hibari.g2p import G2P  # its dictionaries take 0.3 s to read: only where phones are wanted
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the model reads phones, which need the package hibari-tts: {error}; pip install hibari-tts==0.2.1"
        ) from error

    return G2P(oov=NamesFirst(network))


def network():
    """hibari-tts's network alone, which makes phones of a word: another `G2P` would read the dictionaries again."""
    from hibari.g2p import ASSETS
    from hibari.g2p.oov import OOV

    return OOV(str(Path(ASSETS) / "oov.onnx"))


def warm_up() -> None:
    """Bring in all that reading may need: a served request imports nothing."""
    _reader().oov("a")


def read_words(text: str) -> list[Word]:
    """The words of normalized text with their phones; a word that cannot be read is one `UNKNOWN` piece."""
    reader = _reader()
    text = _LONG_WORD.sub(_in_parts, _SENTENCE.sub(_without_shouting, text))
    text = ANNOTATION.sub(r"[\1](/\2/)", text)
    words = []
    for token in reader.phonemize_tokens(reader.tokenize(text)):
        pieces = to_pieces(cleaned(token.phonemes or ""))
        if not pieces and is_speakable(token.text):
            pieces = _read_plainly(token.text)
        if token.whitespace:
            pieces.append(WORD_START)
        words.append(Word(token.text + token.whitespace, pieces))
    return words


def read_phones(text: str) -> str:
    """Phones of normalized text with single spaces between words, as `to_pieces` takes them."""
    pieces = [piece for word in read_words(text) for piece in word.pieces if piece != UNKNOWN]
    return cleaned("".join(pieces).replace(WORD_START, " "))


def foreign_words(text: str) -> list[str]:
    """The words of normalized text with letters that are not Latin: they are read by what they are spelled like, or not
    at all."""
    return [
        word
        for word in _WORD.findall(text)
        if any(c.isalpha() and not unicodedata.name(c, "LATIN").startswith("LATIN") for c in word)
    ]


def cleaned(phones: str) -> str:
    """Phones in the alphabet of this module; what has no place in it falls away."""
    phones = _OTHER.sub("", phones.translate(_RESPELLED))
    return _SPACES.sub(" ", _STRAY_STRESS.sub("", phones)).strip()


def to_pieces(phones: str) -> list[str]:
    """Phones as the model's tokens: a vowel with its stress is one, a space one of its own."""
    return _PIECE.findall(phones.replace(" ", WORD_START))


def _in_parts(word: re.Match[str]) -> str:
    letters = word[0]
    count = -(-len(letters) // LONGEST_WORD)
    size = -(-len(letters) // count)
    return " ".join(letters[start : start + size] for start in range(0, len(letters), size))


def _without_shouting(sentence: re.Match[str]) -> str:
    """A sentence all in capitals with its known words in small letters: they are no initialisms."""
    text = sentence[0]
    if text != text.upper() or len(_WORD.findall(text)) < 2:
        return text
    known = _reader().lexicon.golds
    return _WORD.sub(lambda word: word[0].lower() if known.get(word[0].lower()) else word[0], text)


def _read_plainly(text: str) -> list[str]:
    """A word without its accents, or `UNKNOWN`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if c.isascii() and c.isalpha())
    phones = cleaned(_reader()(plain, normalize_text=False)) if plain and plain != text else ""
    return to_pieces(phones) or [UNKNOWN]


class PhoneTokenizer:
    """Phones as tokens, behind the interface of `tokenize.Tokenizer`."""

    def __init__(self) -> None:
        self._ids = {piece: index for index, piece in enumerate(VOCABULARY)}
        self.vocabulary_size = len(VOCABULARY)
        self.unknown_id = self._ids[UNKNOWN]

    def pieces(self, text: str) -> list[str]:
        """The pieces of normalized text."""
        return [piece for word in read_words(text) for piece in word.pieces]

    def ids(self, pieces: list[str]) -> list[int]:
        """The token of each piece, `unknown_id` for those outside the vocabulary."""
        return [self._ids.get(piece, self.unknown_id) for piece in pieces]

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`."""
        return self.ids(self.pieces(text))

    def texts(self, parts: list[list[str]], text: str) -> list[tuple[str, int, int]]:
        """What each part, consecutive pieces of `text`, reads in it, and from where to where.

        A word belongs where it begins. Where the reader's words and the text do not line up, the whole text.
        """
        owners = [number for number, part in enumerate(parts) for _ in part]
        texts, letters, position = [""] * len(parts), [0] * len(parts), 0
        for word in read_words(text):
            owner = owners[min(position, len(owners) - 1)]
            texts[owner] += word.text
            letters[owner] += sum(not character.isspace() for character in word.text)
            position += len(word.pieces)
        plain = Aligned(text).sub(ANNOTATION, r"\1")
        places = [index for index, character in enumerate(plain.text) if not character.isspace()]
        if sum(letters) != len(places):
            return [(part.strip(), 0, len(text)) for part in texts]
        spans, first = [], 0
        for count in letters:
            within = places[first : first + count]
            spans.append(plain.written(within[0], within[-1] + 1) if within else (0, 0))
            first += count
        return [(part.strip(), *span) for part, span in zip(texts, spans, strict=True)]
