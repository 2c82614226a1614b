"""References by content: what is computed, what is remembered, what is refused."""

import dataclasses
import hashlib
import tracemalloc

import pytest
import soundfile
import torch

from enhance.audio_input.read import Audio
from pipeline.deterministic import tone
from pipeline.voice_file import write_voice
from service.cache import ContentCache
from service.reference import ReferenceOptions, References, hash_samples
from tests.counting import count_calls

RATE = 16000
PLAIN = ReferenceOptions()


@pytest.fixture
def references(mini_model):
    return References(mini_model)


@pytest.fixture
def clip(tmp_path):
    return save(tmp_path / "clip", tone("reference", 2.0, RATE)[0])


def save(path, samples, kind="WAV", rate=RATE):
    soundfile.write(path, samples.numpy(), rate, format=kind)
    return path


def test_a_second_use_computes_nothing_whatever_the_name_or_container(
    mini_model, references, clip, tmp_path, monkeypatch
):
    first = references.speaker(clip, PLAIN)
    calls = count_calls(mini_model, monkeypatch)
    assert references.speaker(clip, PLAIN) is first
    soundfile.write(tmp_path / "renamed.mp3", soundfile.read(clip, dtype="int16")[0], RATE, format="FLAC")
    assert references.speaker(tmp_path / "renamed.mp3", PLAIN) is first
    assert references.emotion(clip, PLAIN) is first.voice.emotion_vector
    assert calls == {}


def test_emotion_of_an_unknown_clip_is_remembered(mini_model, references, clip, monkeypatch):
    calls = count_calls(mini_model, monkeypatch)
    vector = references.emotion(clip, PLAIN)
    assert calls == {"semantic": 1, "emotion": 1}
    assert references.emotion(clip, PLAIN) is vector


def test_other_options_and_other_models_miss(references, clip, mini_model):
    first = references.speaker(clip, PLAIN)
    assert references.speaker(clip, ReferenceOptions(trim=False)) is not first
    other = References(dataclasses.replace(mini_model, fingerprint="another"))
    assert references.key("speaker", "x", PLAIN) != other.key("speaker", "x", PLAIN)


def test_a_voice_file_gives_the_same_voice_and_computes_none_of_it(
    mini_model, references, clip, tmp_path, monkeypatch
):
    reference = references.speaker(clip, PLAIN)
    path = tmp_path / "someone"
    write_voice(path, reference.voice, mini_model, reference.source_sha256, str(PLAIN))
    calls = count_calls(mini_model, monkeypatch)
    again = references.speaker(path, PLAIN)
    assert calls == {"regulator": 1} and again.report is None
    for name, tensor in reference.voice.tensors().items():
        assert torch.equal(getattr(again.voice, name), tensor), name
    assert torch.equal(references.emotion(path, PLAIN), reference.voice.emotion_vector)


def test_denoising_without_weights_is_an_error_not_a_silent_pass(references, clip):
    with pytest.raises(ValueError, match="denoise needs the denoiser mossformer2, which is not loaded"):
        references.speaker(clip, ReferenceOptions(denoise=True))


def test_denoising_a_voice_file_is_an_error(mini_model, references, clip, tmp_path):
    reference = references.speaker(clip, PLAIN)
    write_voice(tmp_path / "v", reference.voice, mini_model, "", "")
    with pytest.raises(ValueError, match="denoise does not apply to a voice file"):
        references.speaker(tmp_path / "v", ReferenceOptions(denoise=True))


def test_silence_is_trimmed_unless_it_is_wanted(references, tmp_path):
    silence = 1e-4 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    samples = torch.cat([silence, tone("reference", 2.0, RATE)[0], silence])
    trimmed = references.speaker(save(tmp_path / "a", samples), PLAIN)
    whole = references.speaker(save(tmp_path / "a", samples), ReferenceOptions(trim=False))
    assert trimmed.voice.seconds < 2.4 < 5.9 < whole.voice.seconds


def test_the_best_window_of_a_long_clip_is_not_its_noise(references, tmp_path):
    noise = 0.05 * torch.randn(16 * RATE, generator=torch.Generator().manual_seed(0))
    path = save(tmp_path / "a", torch.cat([noise, tone("reference", 15.0, RATE)[0]]))
    assert references.speaker(path, ReferenceOptions(window="best")).report.start_seconds > 10
    assert references.speaker(path, ReferenceOptions(window="first")).report.start_seconds < 1


def test_the_cache_is_bounded_and_drops_the_least_used():
    cache = ContentCache(100)
    for name in "abc":
        cache.get(name, lambda: torch.zeros(10))
    assert "a" not in cache and "b" in cache and "c" in cache and cache.nbytes() <= 100
    cache.get("b", lambda: pytest.fail("b is there"))
    cache.get("d", lambda: torch.zeros(10))
    assert "b" in cache and "c" not in cache
    cache.get("large", lambda: torch.zeros(1000))
    assert "large" in cache and cache.nbytes() == 4000


def test_hashing_costs_no_copy_of_the_samples():
    audio = Audio(torch.zeros(1, 10_000_000), RATE, 1, "WAV", "PCM_16", 0.0, None)
    tracemalloc.start()
    digest = hash_samples(audio)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert digest == hashlib.sha256(str(RATE).encode() + bytes(40_000_000)).hexdigest()
    assert peak < 100_000
