"""One text segment to a wave: seeds, lengths, speed, and ends of speech."""

import dataclasses

import pytest
import torch

from pipeline.deterministic import tone
from pipeline.synthesize import Delivery, Synthesizer, sampling_options
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice

TEXT = TextSegment("one", [10, 20, 30])


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("synthesize", 1.2, 22050), 22050)


@pytest.fixture(scope="module")
def options(mini_model):
    return dataclasses.replace(mini_model.config.synthesis, max_mel_tokens=20, diffusion_steps=1, num_beams=1)


@pytest.fixture
def stop_bias(mini_model):
    """Set the bias of the stop token; undone after the test."""
    bias = mini_model.gpt.mel_head.bias
    saved = bias.clone()

    def change(value):
        bias[mini_model.config.gpt.stop_mel_token] = value

    yield change
    bias.copy_(saved)


def speak(model, voice, options, seed=0, **rest):
    delivery = Delivery(voice, voice.emotion_vector, options)
    return Synthesizer(model).segment(TEXT, delivery, seed, Watch(Stopwatch(model.device), **rest))


def test_length_is_the_published_ratio_of_the_codes(mini_model, voice, options):
    made = speak(mini_model, voice, options)
    assert len(made.wave) == int(1.72 * made.codes) * 256


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.5, 2.0])
def test_speed_changes_the_length_of_the_same_codes(mini_model, voice, options, stop_bias, speed):
    stop_bias(-100)
    plain, changed = (
        speak(mini_model, voice, options),
        speak(mini_model, voice, dataclasses.replace(options, speed=speed)),
    )
    assert plain.codes == changed.codes == 20
    assert len(changed.wave) == pytest.approx(len(plain.wave) / speed, rel=0.05)


def test_the_same_seed_gives_the_same_wave(mini_model, voice, options):
    one, again, other = (speak(mini_model, voice, options, seed) for seed in (0, 0, 1))
    assert torch.equal(one.wave, again.wave)
    assert not torch.equal(one.wave, other.wave)


def test_the_limit_is_not_an_end_of_speech(mini_model, voice, options, stop_bias):
    stop_bias(-100)
    made = speak(mini_model, voice, options)
    assert not made.stopped and made.codes == 20


def test_no_codes_give_no_wave(mini_model, voice, options, stop_bias):
    stop_bias(1000)
    made = speak(mini_model, voice, options)
    assert made.stopped and made.codes == 0 and len(made.wave) == 0


def test_progress_is_told_for_every_stage(mini_model, voice, options):
    seen = []
    speak(mini_model, voice, options, progress=lambda stage, step, of: seen.append(stage))
    assert list(dict.fromkeys(seen)) == ["gpt", "s2mel", "vocoder"]


def test_temperature_zero_is_the_most_likely(mini_model, voice, options):
    assert not sampling_options(dataclasses.replace(options, temperature=0.0)).do_sample
    still = dataclasses.replace(options, temperature=0.0)
    one, two = (speak(mini_model, voice, still, seed) for seed in (1, 2))
    assert one.codes == two.codes
