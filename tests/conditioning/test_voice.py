"""The Voice of a clip, what is refused, and the cache by content."""
import pytest
import torch

from pipeline.conditioning import voice as module
from pipeline.conditioning.voice import VoiceCache, make_emotion, make_voice
from pipeline.deterministic import tone

RATE = 24000


@pytest.fixture(scope="module")
def clip():
    return tone("voice", 2.0, RATE)


def count_calls(model, monkeypatch) -> dict[str, int]:
    """How often each conditioning module runs."""
    calls: dict[str, int] = {}
    parts = {"semantic": model.semantic.model, "codec": model.codec.encoder, "speaker": model.speaker,
             "conditioner": model.gpt.conditioning_encoder, "emotion": model.gpt.emo_conditioning_encoder,
             "regulator": model.regulator}
    for name, part in parts.items():
        def counted(*args, _forward=part.forward, _name=name, **kwargs):
            calls[_name] = calls.get(_name, 0) + 1
            return _forward(*args, **kwargs)
        monkeypatch.setattr(part, "forward", counted)
    return calls


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


def test_a_second_use_of_the_same_samples_computes_nothing(mini_model, clip, monkeypatch):
    cache = VoiceCache(mini_model)
    first = cache.voice(clip, RATE)
    calls = count_calls(mini_model, monkeypatch)
    assert cache.voice(clip.clone(), RATE) is first
    assert cache.emotion(clip, RATE) is first.emotion_vector
    assert calls == {}


def test_other_samples_rates_options_and_models_miss(mini_model, clip):
    cache = VoiceCache(mini_model)
    changed = clip.clone()
    changed[0, 100] += 1e-4
    keys = {cache.key(clip, RATE), cache.key(changed, RATE), cache.key(clip, RATE + 1), cache.key(clip, RATE, "denoise")}
    assert len(keys) == 4


def test_an_emotion_clip_costs_only_its_own_conditioner(mini_model, clip, monkeypatch):
    calls = count_calls(mini_model, monkeypatch)
    cache = VoiceCache(mini_model)
    vector = cache.emotion(clip, RATE)
    assert calls == {"semantic": 1, "emotion": 1}
    assert cache.emotion(clip, RATE) is vector
    torch.testing.assert_close(vector, make_voice(mini_model, clip, RATE).emotion_vector)
    torch.testing.assert_close(vector, make_emotion(mini_model, clip, RATE))


def test_the_cache_is_bounded_and_drops_the_oldest(mini_model, clip):
    cache = VoiceCache(mini_model)
    size = cache.voice(clip, RATE).nbytes()
    cache.capacity = int(2.5 * size)
    clips = [clip * gain for gain in (0.9, 0.8, 0.7)]
    for other in clips:
        cache.voice(other, RATE)
    assert cache.nbytes() <= cache.capacity
    assert cache.key(clips[-1], RATE) in cache._voices and cache.key(clip, RATE) not in cache._voices


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


def test_module_has_no_global_state():
    assert not [name for name, value in vars(module).items() if isinstance(value, (dict, list, set)) and not name.startswith("__")]
