"""Text segments to waves: seeds, lengths, silence between, and ends of speech."""
import dataclasses

import pytest
import torch

from pipeline.conditioning.voice import make_voice
from pipeline.deterministic import tone
from pipeline.synthesize import Synthesizer, join, sampling_options, segment_seed
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch

TEXTS = [TextSegment("one", [10, 20, 30]), TextSegment("two", [40, 50]), TextSegment("three", [60])]


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("synthesize", 1.2, 22050), 22050)


@pytest.fixture(scope="module")
def options(mini_model):
    return dataclasses.replace(mini_model.config.synthesis, max_mel_tokens=20, diffusion_steps=1, num_beams=1)


def speak(model, voice, options, texts=TEXTS, seed=0, **rest):
    return list(Synthesizer(model).segments(texts, voice, voice.emotion_vector, options, seed, Stopwatch(model.device), **rest))


def test_segments_come_one_by_one_in_order(mini_model, voice, options):
    stream = Synthesizer(mini_model).segments(TEXTS, voice, voice.emotion_vector, options, 0, Stopwatch(mini_model.device))
    first = next(stream)
    assert first.index == 0 and len(first.wave) > 0
    assert [segment.index for segment in stream] == [1, 2]


def test_length_is_the_published_ratio_of_the_codes(mini_model, voice, options):
    for segment in speak(mini_model, voice, options):
        assert len(segment.wave) == int(1.72 * segment.codes) * 256


def test_a_segment_does_not_depend_on_what_is_spoken_before_it(mini_model, voice, options):
    alone = speak(mini_model, voice, options, [TEXTS[0]])
    together = speak(mini_model, voice, options)
    assert torch.equal(alone[0].wave, together[0].wave)
    swapped = speak(mini_model, voice, options, [TEXTS[2], TEXTS[1], TEXTS[0]])
    assert torch.equal(swapped[1].wave, together[1].wave)


def test_seeds_are_per_segment_and_distinct():
    seeds = [segment_seed(seed, index) for seed in range(20) for index in range(20)]
    assert len(set(seeds)) == 400 and all(0 <= s < 2 ** 63 for s in seeds)


def test_limit_reached_is_a_warning(mini_model, voice, options, caplog):
    bias = mini_model.gpt.mel_head.bias
    saved = bias.clone()
    bias[mini_model.config.gpt.stop_mel_token] = -100
    try:
        segment, = speak(mini_model, voice, options, [TEXTS[0]])
    finally:
        bias.copy_(saved)
    assert not segment.stopped and segment.codes == 20
    assert "segment 1 reached the limit of 20 codes" in caplog.text


def test_no_codes_give_no_wave(mini_model, voice, options):
    bias = mini_model.gpt.mel_head.bias
    saved = bias.clone()
    bias[mini_model.config.gpt.stop_mel_token] = 1000
    try:
        segment, = speak(mini_model, voice, options, [TEXTS[0]])
    finally:
        bias.copy_(saved)
    assert segment.stopped and segment.codes == 0 and len(segment.wave) == 0


def test_progress_is_told_for_every_stage(mini_model, voice, options):
    seen = []
    speak(mini_model, voice, options, [TEXTS[0]], on_progress=lambda stage, step, of: seen.append(stage))
    assert list(dict.fromkeys(seen)) == ["gpt", "s2mel", "vocoder"]


def test_join_puts_silence_between_but_not_around():
    waves = [torch.ones(10), torch.zeros(0), torch.ones(5)]
    joined = join(waves, 200, 100)
    assert joined.tolist() == [1.0] * 10 + [0.0] * 20 + [1.0] * 5
    assert len(join([], 200, 100)) == 0


def test_temperature_zero_is_the_most_likely(mini_model, voice, options):
    assert not sampling_options(dataclasses.replace(options, temperature=0.0)).do_sample
    still = dataclasses.replace(options, temperature=0.0)
    one, two = (speak(mini_model, voice, still, [TEXTS[0]], seed) for seed in (1, 2))
    assert one[0].codes == two[0].codes
