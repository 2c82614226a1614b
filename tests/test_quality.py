"""`script/quality`: its material, how words are compared, its figures and pictures; with the judges where they are."""

import dataclasses

import pytest
import soundfile
import torch

from checks import judges, material
from checks.figures import Case, figures, summary, table
from checks.pictures import attention_to_text, draw_spectrograms
from checks.words import compare, word_error_rate
from pipeline.config import load_config
from pipeline.deterministic import tone
from tests.conftest import ROOT


def case(**values) -> Case:
    plain = dict(
        model="tiny-en", set="plain", number=0, text="a b c d", reference="one", path="x.wav", heard="a b c",
        errors=1, words=4, left_out=("d",), said_twice=(), distillmos=4.0, dnsmos=3.0,
        similarities={"one": 0.9, "two": 0.5}, ended=True, warnings=(), real_time_factor=0.5,
    )  # fmt: skip
    return Case(**plain | values)


@pytest.mark.parametrize(
    "said, heard, errors, left_out, twice",
    (
        ("In 1969 she and three men traveled.", "in nineteen sixty nine she and 3 men travelled", 0, (), ()),
        ("Dr. Hill owes forty dollars.", "Doctor Hill owes $40.", 0, (), ()),
        ("I'll colour it grey.", "I will color it gray", 0, (), ()),
        ("the old clock in the hall", "the clock in the hall", 1, ("old",), ()),
        ("the old clock", "the old the old clock", 2, (), ("the", "old")),
        ("the cat sat", "the bat sat", 1, (), ()),
        ("nothing heard", "", 2, ("nothing", "heard"), ()),
    ),
)
def test_words_are_compared_by_what_they_mean(said, heard, errors, left_out, twice):
    found = compare(said, heard)
    assert (found.errors, found.left_out, sorted(found.said_twice)) == (errors, left_out, sorted(twice))


def test_the_rate_is_over_all_words():
    assert (
        word_error_rate([compare("a cat", "a bat"), compare("three blind mice ran", "3 blind mice ran")])
        == 1 / 6
    )
    with pytest.raises(ValueError, match="no word"):
        compare("...", "a")


def test_figures_weigh_words_and_draw_sentences():
    cases = [case(), case(number=1, words=12, errors=0, left_out=(), similarities={"one": 0.4, "two": 0.5})]
    found = figures(cases)
    assert found["word_error_rate"].value == 1 / 16 and found["nearest"].value == 0.5
    assert found["similarity"].value == pytest.approx(0.65) and found["left_out"].value == 0.5
    assert found["word_error_rate"].low == 0 and found["word_error_rate"].high == 0.25
    # a sentence spoken in more voices alike tells no more: the interval stays
    more = figures(cases + [dataclasses.replace(one, reference="one") for one in cases])
    assert more["similarity"] == found["similarity"]
    with pytest.raises(ValueError, match="no cases"):
        figures([])


def test_silence_is_near_nobody():
    assert not case(similarities={}).nearest and case(similarities={}).similarity == 0


def test_the_summary_has_every_group():
    found = summary([case(), case(set="harder", reference="two")])
    assert {"all", "plain", "harder", "one", "two", "plain one", "harder two"} == set(found)
    assert "harder two" not in table(found) and "word_error_rate" in table(found)


def test_sentences_are_sixty_and_in_no_training_text():
    texts = [one.text for one in material.sentences()]
    assert len(texts) == len(set(texts)) == 60 and [len(material.sentences(n)) for n in (1, 5)] == [2, 10]
    trained = "\n".join(path.read_text("utf-8") for path in (ROOT / "training/text").glob("*.txt"))
    assert not [text for text in texts if text in trained]


def test_references_are_the_unseen_voices():
    names = [one.name for one in material.teacher_references()]
    assert names == ["af_bella", "am_fenrir", "bf_emma", "bm_george"]
    for one in material.teacher_references():
        assert 5 < soundfile.info(one.path).duration < 8


@pytest.mark.quality
def test_the_judges_know_the_references(tmp_path):
    """Words, voice and naturalness of real clips; silence is heard as nothing and is nobody's."""
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, torch.zeros(32_000).numpy(), 16_000)
    clips = [one.path for one in material.teacher_references()]
    *clear, quiet = judges.judge_all([*clips, silence])
    said = "Every morning I walk through the park before work, and I nearly always meet the same old man with his dog."
    assert all(compare(said, one["heard"]).errors <= 1 and one["distillmos"] > 4 for one in clear)
    assert quiet["embedding"] is None


def test_attention_is_the_models_own(mini_model, generator):
    gpt, ids, codes = mini_model.gpt, torch.tensor([[3, 4, 5]]), torch.tensor([7, 8, 9, 10])
    width = gpt.config.model_dim
    latents = torch.randn(1, gpt.config.speaker.perceiver_latents, width, generator=generator)
    with torch.inference_mode():
        prompt = gpt.prompt_inputs(latents, torch.zeros(1, width), ids)
    maps = attention_to_text(gpt, prompt, codes)
    assert maps.shape == (gpt.config.layers * gpt.config.heads, 4, 3)
    assert (maps >= 0).all() and (maps.sum(-1) < 1).all() and maps.sum() > 0
    changed = attention_to_text(gpt, prompt, torch.tensor([7, 8, 9, 11]))
    torch.testing.assert_close(changed, maps)  # the last code is never fed
    changed = attention_to_text(gpt, prompt, torch.tensor([7, 8, 11, 10]))
    torch.testing.assert_close(changed[:, :3], maps[:, :3])
    assert not torch.allclose(changed[:, 3], maps[:, 3])


def test_spectrograms_are_drawn(tmp_path):
    wave = tone("picture", 0.5, 16000)[0].numpy()
    draw_spectrograms(
        load_config("mini").audio,
        [("one", wave, 16000), ("two", wave, 16000), ("three", wave, 16000)],
        tmp_path / "p.png",
    )
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
