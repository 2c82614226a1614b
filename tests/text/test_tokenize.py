"""Tokens: the golden file, and models that cannot be loaded."""

import json

import pytest

from pipeline.text.tokenize import Tokenizer, split_cjk
from tests.conftest import GOLDEN

ENTRIES = json.loads((GOLDEN / "tokenizer.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["normalized"][:20] for entry in ENTRIES])
def test_golden(tokenizer, entry):
    text = entry["normalized"]
    assert split_cjk(text) == entry["cjk_split"]
    assert tokenizer.pieces(text) == entry["pieces"]
    assert tokenizer.ids(entry["pieces"]) == entry["ids"]
    assert tokenizer.encode(text) == entry["ids"]


def test_vocabulary(tokenizer):
    assert tokenizer.vocabulary_size == 620
    assert tokenizer.unknown_id == 2
    assert tokenizer.ids(["▁LOVE", "no such piece"]) == [250, tokenizer.unknown_id]


def test_empty(tokenizer):
    assert tokenizer.pieces("") == [] and tokenizer.ids([]) == [] and tokenizer.encode("") == []


def test_unknown_script_keeps_its_letters_in_the_pieces(tokenizer):
    assert "".join(tokenizer.pieces("שלום hi")).replace("▁", "") == "שלוםHI"


@pytest.mark.parametrize("content", [b"", b"not a model" * 50, b"\x00", "truncated"])
def test_broken_model(tmp_path, content):
    path = tmp_path / "bpe.model"
    path.write_bytes((GOLDEN / "toy_bpe.model").read_bytes()[:5000] if content == "truncated" else content)
    with pytest.raises(ValueError, match=r"bpe\.model is (empty|not a SentencePiece model)") as caught:
        Tokenizer(path)
    assert "\n" not in str(caught.value)


def test_missing_model(tmp_path):
    for path in (tmp_path / "bpe.model", tmp_path):
        with pytest.raises(ValueError, match=f"cannot read the tokenizer model {path.name}"):
            Tokenizer(path)
