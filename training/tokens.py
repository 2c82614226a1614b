"""The small model's tokenizer: characters, as a SentencePiece model that inference reads like any other."""

import io
from pathlib import Path

import sentencepiece

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ'-,.!?…"
SPACE = "▁"


def train_tokenizer(path: Path) -> None:
    """Write a model of one piece per character; ids 0 start, 1 stop, 2 unknown.

    Characters rather than word pieces: English spelling is irregular, and letters let an unseen word be pronounced
    from what seen words have in common with it.
    """
    model = io.BytesIO()  # given a file name, the trainer would write it into the model
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(CHARACTERS)] * 2),
        model_writer=model,
        model_type="char",
        vocab_size=len(CHARACTERS) + len(SPACE) + 3,
        required_chars=CHARACTERS,
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=0,
        eos_id=1,
        unk_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
