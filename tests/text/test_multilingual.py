"""Tokens, segments and prepared text of IndexTTS-2.5, against the published front end's."""

import base64
import json

import pytest

from pipeline.text.cutting import PUBLISHED, cut
from pipeline.text.languages import SPOKEN
from pipeline.text.multilingual import MultilingualTokenizer, kept_ids, language_row, prefix
from pipeline.text.normalize import TextNormalizer
from pipeline.text.script import prepare_script
from pipeline.text.tokenizers import load_tokenizer
from tests.conftest import GOLDEN, VOCABULARY_25

TEXT = json.loads((GOLDEN / "text25.json").read_text())
TOKENS = 2473
ENTRIES = [entry for entry in TEXT["entries"] if entry["lang"] in SPOKEN and entry["text"]]

# Prepared otherwise than published, and why; everything else is equal.
BETTER = {
    "an address is said sign by sign": ["请拨打 135", "Visit https", "Visita https"],
    "a time is read before its colon is mapped": [
        "会议8:00",
        "The meeting is",
        "الساعة 8:30",
        "Call 1-800",
        "Tengo 25%",
    ],
    "emoji and a second dash are silent": ["“真的吗", "She said", "I have 3 cats", "هذا رائع", "这个视频"],
    "an amount has its cents": ["It costs $12.50"],
    "a hyphen inside a term is silent": ["GPT-5-nano and"],
    "a street is read": ["Dr. Smith"],
    "marks in a row stand together": ["Wow! Yes!", "¡Sí! ¡No!"],
    "quotes are one kind": ["قال: «نعم»"],
    "numbers and signs are read in Japanese": ["2025年3月14日の", "この本は", "私は GPT-5", "実は昨年"],
    "kana of both kinds are kana": ["<拉麺|らーめん>"],
    "an unknown pronunciation is the word": ["<林檎|RIN1GO>"],
    "full-width letters are letters": ["ＡＢＣと"],
    "numbers and abbreviations are read in Spanish": [
        "¿Cuánto",
        "El niño",
        "El Sr. Pérez",
        "1.234,56",
        "Me gusta el sushi",
    ],
    "numbers are read in Arabic": ["عندي 25", "عندي ٢٥", "أستخدم GPT-5", "السعر $12.50"],
    "a number is read in the language of the text": ["I like 北京"],
    "special tokens stay as written": ["笑声<|Laughter|>"],
}
UNSPEAKABLE = "！！！"


@pytest.fixture(scope="module")
def tokenizer() -> MultilingualTokenizer:
    return load_tokenizer(VOCABULARY_25, TOKENS)


@pytest.fixture(scope="module")
def normalizer() -> TextNormalizer:
    return TextNormalizer(None, SPOKEN, annotated=True)


def test_special_tokens_follow_the_ranks(tokenizer):
    expected = {name: token for name, token in TEXT["special_ids"].items() if name.startswith("<")}
    assert {name: tokenizer.special[name] for name in expected} == expected
    assert tokenizer.vocabulary_size == TEXT["special_ids"]["n_vocab"] == TOKENS


@pytest.mark.parametrize("entry", TEXT["entries"], ids=lambda entry: entry["text"][:20])
def test_tokens_are_the_published_ones(tokenizer, entry):
    assert tokenizer.tagged(entry["prepared"], entry["lang"]) == entry["ids_toy"]
    assert language_row(entry["lang"]) == entry["lang_index"]


def test_start_and_stop_are_not_heard():
    assert kept_ids([803, 0, 220, 1, 5]) == [803, 220, 5]


@pytest.mark.parametrize("case", TEXT["segments"], ids=lambda case: f"{case['lang']}-{case['limit']}")
def test_segments_are_the_published_ones_by_its_rule(tokenizer, case):
    text = "".join(case["segments"])
    limit = case["limit"] - len(tokenizer.encode(prefix(case["lang"])))
    spans = cut(text, lambda part: len(tokenizer.encode(part)), limit, PUBLISHED)
    assert [text[start:end] for start, end in spans] == case["segments"]
    assert [len(tokenizer.tagged(part, case["lang"])) for part in case["segments"]] == case["tokens"]


@pytest.mark.parametrize("case", TEXT["segments"], ids=lambda case: f"{case['lang']}-{case['limit']}")
def test_our_segments_end_with_words_and_lose_nothing(tokenizer, case):
    text = "".join(case["segments"])
    limit = case["limit"] - len(tokenizer.encode(prefix(case["lang"])))
    spans = cut(text, lambda part: len(tokenizer.encode(part)), limit)
    parts = [text[start:end] for start, end in spans]
    assert "".join(parts) == text
    for part, following in zip(parts, parts[1:], strict=False):
        assert len(tokenizer.encode(part)) <= limit
        if case["lang"] in ("es", "en", "ar") and limit > 20:
            assert not (part[-1].isalpha() and following[0].isalpha()), (part, following)
    assert all(part.count("SPECIAL_TOKEN") % 2 == 0 for part in parts)


def test_every_difference_to_the_published_text_is_named(tokenizer, normalizer):
    reasons = {start: reason for reason, starts in BETTER.items() for start in starts}
    unexplained, unused = [], set(reasons)
    for entry in ENTRIES:
        if entry["text"] == UNSPEAKABLE:
            continue
        script = prepare_script(
            entry["text"], normalizer, tokenizer, language=entry["lang"], max_segment_tokens=2000
        )
        reason = next((start for start in reasons if entry["text"].startswith(start)), None)
        if (script[0].text == entry["prepared"].strip()) == (reason is not None):
            unexplained.append((entry["text"], script[0].text, entry["prepared"], reason))
        unused.discard(reason)
    assert not unexplained and not unused


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "its first 256 tokens are not the single bytes"),
        (b"IQ==\n", "line 1 is no token"),
        (b"!! 0\n", "line 1 is no token in base64 and its rank"),
        (b"IQ== 0\nIQ== 1\n", "without gap or double"),
        (b"IQ== 0\nIg== 2\n", "without gap or double"),
        (b"\x80\x02\x00\xff" * 100, "line 1 is no token"),
        (VOCABULARY_25.read_bytes()[:4000], "no token in base64|has [0-9]+ pieces"),
        (
            b"\n".join(VOCABULARY_25.read_bytes().splitlines()[:700]),
            "has 2373 pieces; the GPT has text embeddings for 2473",
        ),
        (b"\n".join(base64.b64encode(bytes([i])) + b" %d" % i for i in range(256)), "has 1929 pieces"),
    ],
)
def test_a_vocabulary_that_is_none_truncated_or_anothers_is_refused(tmp_path, content, message):
    path = tmp_path / "multilingual_zh_ja_yue_char_del.tiktoken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(path, TOKENS)


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot read the vocabulary x.tiktoken: No such file"):
        load_tokenizer(tmp_path / "x.tiktoken", TOKENS)


def test_no_character_is_unknown_and_a_long_text_takes_a_moment(tokenizer, normalizer):
    for text in (
        "ꙮꙮ ᛗᛗ",
        "\ud800 test",
        "a" * 20_000,
        "كلمة " * 4_000,
        "雨" * 5_000,
        "مرحبا Hello 北京 שלום \u202eabc\u202c 12",
    ):
        script = prepare_script(text, normalizer, tokenizer, max_segment_tokens=120)
        assert all(0 < len(part.token_ids) <= 120 and part.unknown == 0 for part in script)
