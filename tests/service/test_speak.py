"""A whole script spoken: order, seeds, a second attempt, too little memory, too little time."""

import dataclasses
import time

import pytest
import torch

from pipeline.deterministic import tone
from pipeline.synthesize import Delivery
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice
from service.budget import Budget, TimeLimitError
from service.request import MAX_SEED
from service.speak import segment_seed
from tests.service.engines import engine_of, prepared_of

ONE, TWO = TextSegment("one", [10, 20, 30]), TextSegment("two", [40, 50])


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("speak", 1.2, 22050), 22050)


@pytest.fixture(scope="module")
def options(mini_model):
    return dataclasses.replace(mini_model.config.synthesis, max_mel_tokens=50, diffusion_steps=1, num_beams=1)


def say(model, voice, options, script, seed=0, budget=None):
    delivery = Delivery(voice, voice.emotion_vector, options)
    watch = Watch(Stopwatch(model.device), budget or Budget(600))
    prepared = prepared_of(model, script, delivery, watch, seed)
    with engine_of(model) as engine:
        yield from (part.spoken for part in engine.speak(prepared))


def test_parts_come_one_by_one_in_order(mini_model, voice, options):
    parts = say(mini_model, voice, options, [ONE, Pause(0.5), TWO])
    assert next(parts).text == "one"
    assert next(parts) == Pause(0.5)
    assert next(parts).text == "two"


def test_a_segment_is_made_again_alone_by_its_own_seed(mini_model, voice, options):
    _, second = say(mini_model, voice, options, [ONE, TWO], seed=5)
    (alone,) = say(mini_model, voice, options, [TWO], seed=second.seed)
    if not second.warnings and not alone.warnings:
        assert torch.equal(alone.wave, second.wave)
    assert second.seed in {segment_seed(5, 1, attempt) for attempt in (0, 1)}


def test_seeds_are_per_segment_and_attempt_and_distinct():
    seeds = [
        segment_seed(seed, index, attempt) for seed in range(10) for index in range(10) for attempt in (0, 1)
    ]
    assert len(set(seeds)) == 200 and all(0 <= seed <= MAX_SEED for seed in seeds)
    assert segment_seed(7, 0) == 7


def test_a_failed_segment_is_made_once_more_with_another_seed_and_then_told(
    mini_model, voice, options, caplog
):
    bias, stop = mini_model.gpt.mel_head.bias, mini_model.config.gpt.stop_mel_token
    saved = bias.clone()
    bias[stop] = -100
    try:
        (spoken,) = say(mini_model, voice, options, [ONE])
    finally:
        bias.copy_(saved)
    assert caplog.text.count("attempt") == 2 and "attempt 2 of 2" in caplog.text
    assert any("segment 1: it reached the length limit" in warning for warning in spoken.warnings)
    assert "one" not in caplog.text.replace("once", "")


class Memory:
    """A budget at whose first `failures` decode starts the device has no memory left."""

    def __init__(self, failures):
        self.failures = failures

    def __call__(self, stage, step, of):
        if stage == "gpt" and step == 0 and self.failures:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")


def test_too_little_memory_is_tried_once_with_less(mini_model, voice, options, caplog):
    three = dataclasses.replace(options, num_beams=3)
    (spoken,) = say(mini_model, voice, three, [ONE], budget=Memory(1))
    assert spoken.codes > 0 and "trying with one beam" in caplog.text
    assert (
        spoken.warnings[-1] == "segment 1: the device had too little memory for 3 beams, it was made with one"
    )


def test_too_little_memory_twice_is_a_message(mini_model, voice, options):
    with pytest.raises(ValueError, match="too little memory for this request; lower segment_tokens"):
        list(say(mini_model, voice, options, [ONE], budget=Memory(2)))


def test_too_little_time_is_a_message(mini_model, voice, options):
    with pytest.raises(TimeLimitError, match=r"longer than 1e-09 s \(segment, segment 1 of 1\)"):
        list(say(mini_model, voice, options, [ONE], budget=Budget(1e-9)))


def test_progress_is_logged_now_and_then(caplog):
    caplog.set_level("INFO")
    budget = Budget(600)
    budget("segment", 1, 2)
    budget("gpt", 1, 10)
    assert not caplog.text
    budget.reported = budget.start = time.monotonic() - 10
    budget("s2mel", 5, 10)
    assert "segment 2 of 2, s2mel 50 %, 88 % of all, about 1 s left" in caplog.text
