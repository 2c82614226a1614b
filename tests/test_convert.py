"""Speech said again: windows without seams, of the length of what they were made of."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline import convert
from pipeline.deterministic import tone
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice

RATE = 22050


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("voice", 1.2, RATE), RATE)


@pytest.fixture(scope="module")
def options(mini_model):
    return dataclasses.replace(mini_model.config.synthesis, diffusion_steps=1)


def say_again(model, source, voice, options, seed=0):
    watch = Watch(Stopwatch(model.device))
    return list(convert.speak_source(model, source, voice, options, seed, watch))


@pytest.mark.parametrize("seconds", [0.3, 1.5, 16.3])
def test_indextts25_says_again_in_codes_of_two_frames(mini_model_25, seconds):
    model = mini_model_25
    voice = make_voice(model, tone("voice", 1.2, RATE), RATE)
    options = dataclasses.replace(model.config.synthesis, diffusion_steps=1)
    limits = model.config.reference
    wave = tone("source", seconds, limits.sample_rate)
    source = convert.make_source(model, wave, limits.sample_rate)
    assert source.codes.shape[-1] == -(-model.semantic.codes_of(wave.shape[-1]) // 2)
    samples = torch.cat(say_again(model, source, voice, options))
    assert abs(len(samples) - seconds * model.config.audio.sample_rate) <= model.config.audio.hop_length
    assert samples.isfinite().all() and samples.abs().max() > 0


@given(st.integers(1, 40_000), st.floats(0.5, 4.0), st.integers(2, 600), st.floats(0.0, 0.5))
def test_spans_cover_everything_and_overlap(codes, per_code, window, share):
    overlap = int(share * window)
    frames = max(1, round(codes * per_code))
    spans = convert.make_spans(codes, frames, window, overlap)
    assert (spans[0].start, spans[0].first) == (0, 0)
    assert (spans[-1].end, spans[-1].last) == (codes, frames)
    for one, two in zip(spans, spans[1:], strict=False):
        assert one.start < two.start and one.end - two.start == overlap
        assert two.first <= one.last
    assert all(span.end - span.start <= window + 1 for span in spans)
    lengths = {span.end - span.start for span in spans}
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.345])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("rate", [8000, 48000])
def test_the_length_is_the_sources_to_one_frame(mini_model, voice, options, seconds, speed, rate):
    source = convert.make_source(mini_model, tone("source", seconds, rate), rate, speed)
    samples = sum(map(len, say_again(mini_model, source, voice, options)))
    assert abs(samples - seconds * RATE / speed) <= mini_model.config.audio.hop_length


def test_a_short_source_has_the_codes_of_a_reference(mini_model):
    clip = tone("source", 1.5, RATE)
    assert torch.equal(
        convert.make_source(mini_model, clip, RATE).codes, make_voice(mini_model, clip, RATE).prompt_codes
    )


def test_a_long_source_is_heard_in_stretches_with_as_many_codes(mini_model):
    limits = mini_model.config.reference
    wave = tone("long", 2.2 * limits.max_seconds, limits.sample_rate)
    codes = convert.hear(mini_model, wave)
    with torch.inference_mode():
        assert codes.shape == mini_model.codec.encode(mini_model.semantic(wave)).shape


def test_windows_join_to_what_one_vocoding_of_the_whole_mel_gives(mini_model, voice, options, monkeypatch):
    monkeypatch.setattr(convert, "WINDOW_SECONDS", 2.0)
    mels = []
    whole = convert.stretch_wave
    monkeypatch.setattr(
        convert, "stretch_wave", lambda m, mel, *where: mels.append((mel, *where)) or whole(m, mel, *where)
    )
    source = convert.make_source(mini_model, tone("source", 7.0, RATE), RATE)
    assert len(source.spans) >= 4
    waves = say_again(mini_model, source, voice, options)
    assert len(waves) >= 3
    settled = torch.cat([mel[..., first:end] for mel, first, end, _ in mels], dim=-1)
    assert settled.shape[-1] == source.frames
    with torch.inference_mode():
        reference = mini_model.vocoder(settled)[0]
    assert torch.allclose(torch.cat(waves), reference, atol=1e-5)


def test_a_sample_depends_on_no_frame_beyond_the_vocoders_reach(mini_model):
    margin = convert.reach(mini_model.config.vocoder)
    hop = mini_model.config.audio.hop_length
    mel = torch.randn(
        1, mini_model.config.audio.n_mels, 2 * margin + 9, generator=torch.Generator().manual_seed(1)
    )
    changed = mel.clone()
    changed[..., 0] += 3
    with torch.inference_mode():
        before, after = mini_model.vocoder(mel)[0], mini_model.vocoder(changed)[0]
    moved = (before - after).abs().nonzero()
    assert 0 < int(moved.max()) < (margin + 1) * hop


def test_the_seed_decides(mini_model, voice, options):
    source = convert.make_source(mini_model, tone("source", 1.0, RATE), RATE)
    one, again, other = (torch.cat(say_again(mini_model, source, voice, options, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize(
    "clip, message", [(tone("x", 0.2, RATE), "0.20 s long"), (torch.zeros(1, RATE), "silent; it must reach")]
)
def test_what_is_no_speech_is_told(mini_model, clip, message):
    with pytest.raises(ValueError, match=message):
        convert.make_source(mini_model, clip, RATE)
