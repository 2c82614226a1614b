"""The Voice of a clip, what is refused, and the cache by content."""

import pytest
import torch

from pipeline.deterministic import tone
from pipeline.voice import make_emotion, make_voice
from tests.counting import count_calls

RATE = 24000


@pytest.fixture(scope="module")
def clip():
    return tone("voice", 2.0, RATE)


def test_shapes(mini_model, clip):
    voice, config = make_voice(mini_model, clip, RATE), mini_model.config
    frames = int(2.0 * config.audio.sample_rate) // config.audio.hop_length
    assert voice.speaker_latents.shape == (1, 32, config.gpt.model_dim)
    assert voice.style.shape == (1, 192)
    assert voice.reference_mel.shape == (1, 80, frames)
    assert voice.prompt_condition.shape == (1, frames, config.s2mel.regulator.channels)
    assert voice.emotion_vector.shape == (1, config.gpt.model_dim)
    assert all(torch.isfinite(t).all() and not t.requires_grad for t in voice.tensors().values())


def test_one_semantic_pass_serves_speaker_and_emotion(mini_model, clip, monkeypatch):
    calls = count_calls(mini_model, monkeypatch)
    make_voice(mini_model, clip, RATE)
    assert calls == {"semantic": 1, "codec": 1, "speaker": 1, "conditioner": 1, "emotion": 1, "regulator": 1}


def test_an_emotion_clip_costs_only_its_own_conditioner(mini_model, clip, monkeypatch):
    calls = count_calls(mini_model, monkeypatch)
    vector = make_emotion(mini_model, clip, RATE)
    assert calls == {"semantic": 1, "emotion": 1}
    torch.testing.assert_close(vector, make_voice(mini_model, clip, RATE).emotion_vector)


def test_short_and_silent_clips_say_what_is_needed(mini_model):
    with pytest.raises(ValueError, match=r"0.50 s long; at least 1 s of speech is needed"):
        make_voice(mini_model, tone("short", 0.5, RATE), RATE)
    with pytest.raises(ValueError, match="silent .*digital silence"):
        make_voice(mini_model, torch.zeros(1, 2 * RATE), RATE)
    with pytest.raises(ValueError, match="the emotion reference audio is silent .peak -80 dBFS"):
        make_emotion(mini_model, torch.full((1, 2 * RATE), 1e-4), RATE)


def test_long_clips_are_cut_and_the_log_says_so(mini_model, caplog):
    caplog.set_level("INFO")
    voice = make_voice(mini_model, tone("long", 16.0, RATE), RATE)
    assert voice.seconds == 15.0
    assert "reference audio is 16.0 s long; only the first 15 s are used" in caplog.text


@pytest.mark.parametrize("rate", [8000, 11025, 44101, 48000, 191999, 192000])
def test_any_sample_rate_gives_a_voice_of_the_same_length(mini_model, rate):
    voice = make_voice(mini_model, tone("rates", 1.2, rate), rate)
    assert abs(voice.reference_mel.shape[-1] - 1.2 * 22050 / 256) <= 1
