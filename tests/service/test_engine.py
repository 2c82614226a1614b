"""Many requests in one engine: none touches another, none waits for ever, memory is bounded."""

import asyncio
import dataclasses
import threading
import time

import pytest
import torch

from checks.heads import ShiftedHead
from pipeline.deterministic import tone
from pipeline.gpt.device import DeviceDecoder, DeviceDecoders
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.synthesize import Delivery, Draft, Synthesizer, sampling_options
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice
from service.budget import Budget, TimeLimitError
from service.engine.engine import EngineFull
from service.engine.job import Cancelled
from service.finish.segment import finish_segment
from service.speak import segment_seed
from tests.service.engines import engine_of, prepared_of

PATIENCE = 60
PLENTY = 2**30
TEXTS = [TextSegment(f"text {i}", [10 + i, 20 + 3 * i, 30, *range(40, 40 + i)]) for i in range(6)]


@pytest.fixture(scope="module")
def voice(mini_model):
    return make_voice(mini_model, tone("engine", 1.2, 22050), 22050)


@pytest.fixture(scope="module")
def prepare(mini_model, voice):
    def make(script, seed=0, progress=None, **changes):
        values = dict(max_mel_tokens=25, diffusion_steps=1, num_beams=1) | changes
        options = dataclasses.replace(mini_model.config.synthesis, **values)
        watch = Watch(Stopwatch(mini_model.device), progress or Budget(600))
        return prepared_of(mini_model, script, Delivery(voice, voice.emotion_vector, options), watch, seed)

    return make


@pytest.fixture
def never_stops(mini_model, monkeypatch):
    gpt = mini_model.gpt
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))


def waves(parts) -> list[torch.Tensor]:
    return [part.chunk.wave for part in parts]


def until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_text_has_the_bytes_of_its_segments_made_one_by_one(mini_model, prepare):
    """In `exact`: by the stages themselves, without an engine."""
    synthesizer, prepared = Synthesizer(mini_model), prepare(TEXTS, seed=3, num_beams=2)
    with engine_of(mini_model) as engine:
        parts = list(engine.speak(prepared))
    assert [part.spoken.text for part in parts] == [text.text for text in TEXTS]
    for index, (text, part) in enumerate(zip(TEXTS, parts, strict=True)):
        seeds = [segment_seed(3, index, attempt) for attempt in (0, 1)]
        alone = synthesizer.segment(text, prepared.delivery, part.spoken.seed, prepared.watch)
        assert part.spoken.seed in seeds
        assert torch.equal(part.spoken.wave, finish_segment(alone.wave, synthesizer.sample_rate).wave)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_devices_decoder_in_too_little_memory_speaks_the_same_and_tells(mini_model, prepare, beams):
    """What an engine on a GPU decodes with, without its graphs."""
    synthesizer, prepared = Synthesizer(mini_model), prepare(TEXTS[:4], seed=3, num_beams=beams)
    decoders = DeviceDecoders(mini_model.gpt, graphs=False)

    def tight(model, groups, *sizes):
        if groups > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return DeviceDecoder(model, groups, *sizes)

    with engine_of(mini_model) as engine:
        engine.decoding.decoder = DeviceBatch(mini_model.gpt, 3, PLENTY, graphs=False, make=tight)
        engine.decoding.draft(TEXTS[5], prepared.delivery, 0)
        assert engine.counts()["sequences"] == 0
        parts = list(engine.speak(prepared))
    for text, part in zip(TEXTS, parts, strict=False):
        assert any("2 segments at once instead of 3" in line for line in part.spoken.warnings)
        generator = torch.Generator().manual_seed(part.spoken.seed)
        prompt, options = (
            synthesizer.prompt(text, prepared.delivery),
            sampling_options(prepared.delivery.options),
        )
        draft = Draft(decoders.decode(prompt, options, generator), generator, part.spoken.seed)
        wave = synthesizer.render(draft, prepared.delivery, prepared.watch).wave
        assert torch.equal(part.spoken.wave, finish_segment(wave, synthesizer.sample_rate).wave)


def test_a_segment_can_be_decoded_before_the_threads_run(mini_model, prepare):
    prepared, synthesizer = prepare(TEXTS[:1], num_beams=2), Synthesizer(mini_model)
    with engine_of(mini_model) as engine:
        draft = engine.decoding.draft(TEXTS[0], prepared.delivery, 3)
        assert not any(engine.counts().values())
    wanted = synthesizer.draft(TEXTS[0], prepared.delivery, 3, prepared.watch)
    assert torch.equal(draft.decoded.codes, wanted.decoded.codes)


def test_bytes_do_not_depend_on_the_company(mini_model, prepare):
    with engine_of(mini_model) as engine:
        alone = [torch.cat(waves(engine.speak(prepare(TEXTS[:2], seed)))) for seed in range(3)]
        jobs = [engine.speak(prepare(TEXTS[:2], seed)) for seed in range(3)]
        for job, expected in zip(jobs, alone, strict=True):
            assert torch.equal(torch.cat(waves(job)), expected)


def test_a_short_request_does_not_wait_for_a_long_one(mini_model, prepare, never_stops):
    """It is done before the long text, which was first, is half done."""
    with engine_of(mini_model, segment_batch=2) as engine:
        long, told = engine.speak(prepare(TEXTS * 2)), []
        reader = threading.Thread(target=lambda: told.extend(long))
        reader.start()
        until(lambda: told)
        short = list(engine.speak(prepare(TEXTS[:1])))
        assert len(short) == 1 and len(told) < 8
        reader.join(PATIENCE)
    assert len(told) == 12


def test_a_cancelled_request_frees_its_rows_and_the_others_go_on(mini_model, prepare, never_stops):
    with engine_of(mini_model) as engine:
        expected = waves(engine.speak(prepare(TEXTS[:2], 1)))
        cancelled = engine.speak(prepare(TEXTS * 4, 2, max_mel_tokens=400))
        until(lambda: engine.counts()["sequences"] >= 2)
        other = engine.speak(prepare(TEXTS[:2], 1))
        cancelled.cancel()
        until(lambda: engine.counts()["sequences"] <= 2 and engine.counts()["running"] <= 1)
        with pytest.raises(Cancelled, match="cancelled"):
            list(cancelled)
        assert all(torch.equal(a, b) for a, b in zip(waves(other), expected, strict=True))
        until(lambda: not any(engine.counts().values()))
        cancelled.cancel()


@pytest.mark.parametrize("stage", ["segment", "gpt", "s2mel", "vocoder"])
def test_cancelled_at_any_stage(mini_model, prepare, stage):
    """The engine is empty afterwards and gives the next request the same bytes."""
    with engine_of(mini_model) as engine:
        expected = waves(engine.speak(prepare(TEXTS[:2], 1)))
        jobs = []

        def cancel(here, step, of):
            if here == stage:
                jobs[0].cancel()

        jobs.append(engine.speak(prepare(TEXTS[:2], 5, lambda *told: jobs and cancel(*told))))
        with pytest.raises(Cancelled):
            list(jobs[0])
            raise AssertionError(f"{stage} was not reached")
        until(lambda: not any(engine.counts().values()))
        assert all(
            torch.equal(a, b)
            for a, b in zip(waves(engine.speak(prepare(TEXTS[:2], 1))), expected, strict=True)
        )


def test_a_reader_that_stops_holds_little_and_holds_up_nobody(mini_model, prepare):
    with engine_of(mini_model, segment_batch=2) as engine:
        stopped = engine.speak(prepare(TEXTS * 10))
        until(lambda: stopped.unread == engine.limits.most_ahead)
        assert len(list(engine.speak(prepare(TEXTS[:2])))) == 2
        assert stopped.unread == engine.limits.most_ahead
        stopped.cancel()
        assert stopped.unread == 0
        until(lambda: engine.counts()["running"] == 0)


def test_the_time_of_a_reader_that_stops_runs_on(mini_model, prepare):
    with engine_of(mini_model, segment_batch=1) as engine:
        budget = Budget(600)
        stopped = engine.speak(prepare(TEXTS * 10, progress=budget))
        until(lambda: stopped.unread == engine.limits.most_ahead)
        budget.seconds = 0
        until(lambda: stopped.ended)
        with pytest.raises(TimeLimitError):
            list(stopped)


def test_a_request_larger_than_memory_is_refused_before_it_begins(mini_model, prepare):
    with engine_of(mini_model, cache_bytes=2**20) as engine:
        with pytest.raises(ValueError, match=r"segment 1 may need \d+ MB of memory, there are 1; lower"):
            engine.speak(prepare(TEXTS[:1], num_beams=8, max_mel_tokens=400))
        assert len(list(engine.speak(prepare(TEXTS[:1])))) == 1


def test_never_more_than_the_cache_allows(mini_model, prepare, never_stops):
    with engine_of(mini_model) as engine:
        options = sampling_options(prepare(TEXTS[:1]).delivery.options)
        needed = engine.decoding.decoder.bytes(60, options)
    with engine_of(mini_model, cache_bytes=2 * needed) as engine:
        job, seen = engine.speak(prepare(TEXTS)), []
        while not job.ended:
            seen.append(engine.counts())
            time.sleep(0.001)
        assert len(list(job)) == 6
    assert max(counts["sequences"] for counts in seen) == 2
    assert max(counts["cache_bytes"] for counts in seen) <= 2 * needed


def test_too_many_requests_are_refused_and_the_rest_is_answered(mini_model, prepare):
    """A thousand at once."""
    gate, answered, refused = threading.Event(), [], 0

    def slow(request, on_progress):
        gate.wait(PATIENCE)
        return prepare([TEXTS[request % 3]], request)

    with engine_of(mini_model, slow, most_waiting=20) as engine:
        for number in range(1000):
            try:
                answered.append(engine.submit(number))
            except EngineFull as e:
                assert "wait already" in str(e)
                refused += 1
        gate.set()
        assert all(len(list(job)) == 1 for job in answered)
    assert 20 <= len(answered) <= 21 and refused == 1000 - len(answered)


def test_what_preparing_raises_reaches_the_reader(mini_model):
    with engine_of(mini_model) as engine:
        with pytest.raises(ValueError, match="no files"):
            list(engine.submit(None))
        assert engine.health.works


def test_a_poisoned_request_fails_alone_and_health_knows(mini_model, prepare, voice):
    poisoned = prepare(TEXTS[:1])
    latents = torch.full_like(voice.speaker_latents, torch.nan)
    delivery = dataclasses.replace(
        poisoned.delivery, voice=dataclasses.replace(voice, speaker_latents=latents)
    )
    poisoned = dataclasses.replace(poisoned, delivery=delivery, cast={(None, None): (None, delivery)})
    with engine_of(mini_model) as engine:
        expected = waves(engine.speak(prepare(TEXTS[:2], 1)))
        job, other = engine.speak(poisoned), engine.speak(prepare(TEXTS[:2], 1))
        with pytest.raises(ArithmeticError, match="not finite"):
            list(job)
        assert not engine.health.works
        assert all(torch.equal(a, b) for a, b in zip(waves(other), expected, strict=True))
        assert engine.health.works


def test_voiced_in_batches_each_is_as_it_is_alone(mini_model, prepare):
    """As on a GPU; one of the batch is cancelled and one has no time left."""
    with engine_of(mini_model) as engine:
        expected = [waves(engine.speak(prepare(TEXTS, seed)))[0] for seed in range(2)]
    with engine_of(mini_model, segment_batch=8) as engine:
        engine.voices.voicing.most, gate, sizes = 4, threading.Event(), []
        together = engine.voices.voicing.render_together

        def counted(several):
            sizes.append(len(several))
            return together(several)

        engine.voices.voicing.render_together = counted
        engine.voices.waiting.append(lambda: gate.wait(PATIENCE))
        jobs = [engine.speak(prepare(TEXTS, seed)) for seed in range(2)]
        budget = Budget(600)
        late = engine.speak(prepare(TEXTS[:1], 5, budget))
        until(lambda: engine.counts()["to_voice"] >= 8)
        budget.seconds = 0
        gate.set()
        for job, wanted in zip(jobs, expected, strict=True):
            assert (waves(job)[0] - wanted).abs().max() < 2e-5
        with pytest.raises(TimeLimitError):
            list(late)
    assert max(sizes) == 4


def test_a_coroutine_reads_and_leaves(mini_model, prepare):
    async def read(job):
        return [part async for part in job]

    async def leave(job):
        async for _ in job:
            break

    async def both(engine):
        return await asyncio.gather(*(read(engine.speak(prepare(TEXTS[:2], seed))) for seed in (1, 2)))

    with engine_of(mini_model) as engine:
        expected = [waves(engine.speak(prepare(TEXTS[:2], seed))) for seed in (1, 2)]
        found = asyncio.run(both(engine))
        for parts, wanted in zip(found, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(waves(parts), wanted, strict=True))
        job = engine.speak(prepare([TEXTS[0], Pause(0.1), *TEXTS * 3]))
        asyncio.run(leave(job))
        until(lambda: job.ended and not any(engine.counts().values()))


def test_closing_ends_every_request(mini_model, prepare):
    with engine_of(mini_model) as engine:
        job = engine.speak(prepare(TEXTS * 20))
    with pytest.raises(Cancelled):
        list(job)
    with pytest.raises(EngineFull, match="closed"):
        engine.submit(None)
