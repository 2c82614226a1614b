"""Text to SentencePiece tokens, as the model was trained: Chinese characters apart, letters in upper case."""

import re
from pathlib import Path
from typing import Protocol

import sentencepiece

# Written without spaces between words: Chinese, Japanese and Korean, with their punctuation.
_CJK = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)
WORD_START = "▁"


def split_cjk(text: str) -> str:
    """`text` in upper case with every CJK character between single spaces: "效果gpt" is "效 果 GPT"."""
    parts = (part.strip() for part in _CJK.split(text))
    return " ".join(part.upper() for part in parts if part)


class TextTokenizer(Protocol):
    """What the rest of the text side asks of a tokenizer."""

    vocabulary_size: int
    unknown_id: int

    def pieces(self, text: str) -> list[str]: ...

    def ids(self, pieces: list[str]) -> list[int]: ...

    def texts(self, parts: list[list[str]], text: str) -> list[tuple[str, int, int]]: ...


class Tokenizer:
    """A SentencePiece model behind `split_cjk`."""

    def __init__(self, path: str | Path) -> None:
        """Load the model file `path`; ValueError if it is missing or not a SentencePiece model."""
        path = Path(path)
        try:
            model = path.read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read the tokenizer model {path.name}: {error.strerror}") from error
        if not model:
            raise ValueError(f"the tokenizer model {path.name} is empty")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            self.vocabulary_size: int = self._processor.get_piece_size()
            self.unknown_id: int = self._processor.unk_id()
        except RuntimeError as error:
            raise ValueError(f"{path.name} is not a SentencePiece model ({len(model)} bytes)") from error

    def pieces(self, text: str) -> list[str]:
        """The pieces of `text`; one that starts a word starts with "▁"."""
        return self._processor.encode(split_cjk(text), out_type=str)

    def ids(self, pieces: list[str]) -> list[int]:
        """The token of each piece, `unknown_id` for those outside the vocabulary."""
        return self._processor.piece_to_id(pieces)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`."""
        return self.ids(self.pieces(text))

    def texts(self, parts: list[list[str]], text: str) -> list[tuple[str, int, int]]:
        """What each part, consecutive pieces of `text`, reads in it, and from where to where.

        Where letters and tokens do not line up, the tokens' own letters, and the whole text.
        """
        surfaces = ["".join(part).replace(WORD_START, "") for part in parts]
        # Upper case may be longer ("ß" is "SS"): every letter of it stands at the letter it comes from.
        positions = [
            index
            for index, character in enumerate(text)
            if not character.isspace()
            for _ in character.upper()
        ]
        if sum(map(len, surfaces)) != len(positions):
            return [("".join(part).replace(WORD_START, " ").strip(), 0, len(text)) for part in parts]
        texts = []
        start = count = 0
        for surface in surfaces:
            count += len(surface)
            end = positions[count] if count < len(positions) else len(text)
            # a cut inside one letter: "ß" is two tokens
            texts.append((text[start:end].strip() or surface, start, end))
            start = end
        return texts
