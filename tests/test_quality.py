"""`script/quality`: its figures and pictures."""

import torch

from checks.pictures import attention_to_text, draw_spectrograms
from checks.quality import Case, summarize
from pipeline.config import load_config
from pipeline.deterministic import tone


def case(**values) -> Case:
    return Case(
        **dict(
            voice="slt",
            text="a b c d",
            heard="a b c",
            heard_flite="a b c d",
            errors=1,
            errors_flite=0,
            words=4,
            pitch=100.0,
            pitch_reference=110.0,
            similarity_same=0.9,
            similarity_other=0.5,
            real_time_factor=0.5,
            stopped=True,
        )
        | values
    )


def test_the_summary_counts_words_not_sentences():
    cases = [
        case(),
        case(voice="rms", words=12, errors=6, errors_flite=3, pitch=200.0, stopped=False),
        case(pitch=float("nan"), similarity_other=0.95, real_time_factor=0.7),
        case(real_time_factor=0.3),
    ]
    summary = summarize(cases)
    assert summary["word_error_rate"] == 9 / 24 and summary["word_error_rate_flite"] == 3 / 24
    assert summary["word_error_rate_rms"] == 0.5 and summary["word_error_rate_flite_slt"] == 0
    assert summary["pitch_near_share_rms"] == 0 and summary["pitch_near_share_slt"] == 2 / 3
    assert summary["pitch_near_share"] == 0.5 and summary["same_above_other_share"] == 0.75
    assert summary["stopped_share"] == 0.75 and summary["real_time_factor_median"] == 0.5


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
