"""The text emotion model through the real classes: a two-layer Qwen3 taught two answers by heart."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from pipeline.conditioning.emotion_text import FOLDER, SYSTEM_MESSAGE, EmotionReader, read_scores
from pipeline.config import load_config

CONFIG = load_config("indextts2").emotion
ANSWERS = {"we won": '{"高兴": 0.9, "自然": 0.1}', "he left": '{"悲伤": 0.7}', "who": "no scores here"}
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if enable_thinking is false %}~{% endif %}{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    characters = sorted(
        set("".join([*ANSWERS, *ANSWERS.values(), SYSTEM_MESSAGE, "<system><user><assistant>~"]))
    )
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[END]", "[UNK]", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        eos_token="[END]",
        unk_token="[UNK]",
        chat_template=TEMPLATE,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model directory with a `qwen0.6bemo4-merge` folder that answers as ANSWERS says."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=256,
            eos_token_id=1,
            pad_token_id=0,
            bos_token_id=None,
        )
    )
    texts = [f"<system>{SYSTEM_MESSAGE}<user>{text}<assistant>~{answer}" for text, answer in ANSWERS.items()]
    rows = [tokenizer(text)["input_ids"] + [1] for text in texts]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = torch.tensor(values)
    labels = ids.masked_fill(ids == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("emotion")
    model.save_pretrained(folder / FOLDER)
    tokenizer.save_pretrained(folder / FOLDER)
    return folder


@pytest.fixture(scope="module")
def reader(directory):
    return EmotionReader(directory, CONFIG, torch.device("cpu"))


def named(weights):
    return {name: value for name, value in zip(CONFIG.names, weights, strict=True) if value}


def test_scores_are_read_as_weights(reader):
    assert named(reader.weights("we won")) == {"happy": 0.9, "calm": 0.1}
    assert named(reader.weights(" he left ")) == {"sad": 0.7}


@pytest.mark.parametrize(
    "answer, scores",
    [
        ('{"高兴": 0.9, "自然": 0.1}', {"高兴": 0.9, "自然": 0.1}),
        ('"愤怒"', {"愤怒": 1.0}),
        ("sad", {"悲伤": 1.0}),
        ('{"emotion_label": "happy"}', {"高兴": 1.0}),
        ('{"情感": "恐惧"}', {"恐惧": 1.0}),
        ('{"高兴": "悲伤"}', {"高兴": 0.0, "悲伤": 1.0}),
        ('{"高兴": "happy"}', {"高兴": 1.0}),
        ("I cannot say", {}),
    ],
)
def test_a_label_stands_for_all_of_its_emotion(answer, scores):
    assert read_scores(answer) == scores


def test_an_answer_without_scores_is_calm_and_a_warning_without_the_text(reader, caplog):
    assert named(reader.weights("who")) == {"calm": 1.0}
    assert "no scores" in caplog.text and "who" not in caplog.text


@pytest.mark.parametrize("text", ["", "   ", "x" * 1001])
def test_empty_and_long_texts_are_refused(reader, text):
    with pytest.raises(ValueError, match="emotion_text has [0-9]+ characters; allowed: 1 to 1000"):
        reader.weights(text)


def test_availability(directory, tmp_path):
    assert EmotionReader.available(directory) and not EmotionReader.available(tmp_path)
