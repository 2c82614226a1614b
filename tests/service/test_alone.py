"""Requests that the engine makes by themselves, among others: an adapter's, a source said again."""

import dataclasses
import threading
import time

import pytest
import torch

from pipeline.adapter import DOWN, UP, Adapter, adapted, lora_layers
from pipeline.convert import make_source
from pipeline.deterministic import tone
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice
from service.budget import Budget
from service.engine.job import Cancelled
from service.finish.segment import finish_segment
from tests.service.engines import engine_of, prepared_of

PATIENCE = 60
TEXTS = [TextSegment(f"text {i}", [10 + i, 20 + 3 * i, 30, *range(40, 40 + i)]) for i in range(4)]
SCRIPT = [Pause(0.2), TEXTS[0], TEXTS[1], Pause(0.1), TEXTS[2], Pause(0.3)]


@pytest.fixture(scope="module")
def adapted_model(mini_model):
    generator, tensors = torch.Generator().manual_seed(0), {}
    for layer, (inputs, outputs) in lora_layers(mini_model.config, ("gpt", "dit")).items():
        tensors[f"{layer}.{DOWN}"] = 0.05 * torch.randn(4, inputs, generator=generator)
        tensors[f"{layer}.{UP}"] = 0.05 * torch.randn(outputs, 4, generator=generator)
    return adapted(mini_model, Adapter("lora", tensors, "0" * 64))


@pytest.fixture(scope="module")
def prepare(mini_model, adapted_model):
    voice = make_voice(mini_model, tone("alone", 1.2, 22050), 22050)
    source = make_source(mini_model, tone("source", 12.0, 16000), 16000)

    def make(kind, script=SCRIPT, seed=0, progress=None, **changes):
        values = dict(max_mel_tokens=25, diffusion_steps=1, num_beams=1) | changes
        options = dataclasses.replace(mini_model.config.synthesis, **values)
        watch = Watch(Stopwatch(mini_model.device), progress or Budget(600))
        delivery = Delivery(voice, voice.emotion_vector, options)
        prepared = prepared_of(mini_model, script, delivery, watch, seed)
        if kind == "adapter":
            return dataclasses.replace(prepared, model=adapted_model)
        return dataclasses.replace(prepared, source=source, script=[]) if kind == "source" else prepared

    return make


def sound(parts) -> torch.Tensor:
    return torch.cat([part.chunk.wave for part in parts])


def until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_text_with_an_adapter_has_its_parts_in_order_and_the_bytes_of_its_stages(prepare, adapted_model):
    synthesizer, prepared = Synthesizer(adapted_model), prepare("adapter")
    with engine_of(prepare("plain").model) as engine:
        parts, plain = list(engine.speak(prepared)), list(engine.speak(prepare("plain")))
    assert [getattr(part.spoken, "text", part.spoken) for part in parts] == [
        part if isinstance(part, Pause) else part.text for part in SCRIPT
    ]
    for text, part in zip(TEXTS[:3], [part for part in parts if hasattr(part.spoken, "text")], strict=True):
        wave = synthesizer.segment(text, prepared.delivery, part.spoken.seed, prepared.watch).wave
        assert torch.equal(part.spoken.wave, finish_segment(wave, synthesizer.sample_rate).wave)
    assert not torch.equal(sound(parts)[: 2**14], sound(plain)[: 2**14])


@pytest.mark.parametrize("kind", ["adapter", "source"])
@pytest.mark.parametrize("stream", ["segments", "chunks"])
def test_it_has_the_same_bytes_alone_and_in_company_which_has_its_own(prepare, kind, stream):
    with engine_of(prepare("plain").model) as engine:
        alone, other = sound(engine.speak(prepare(kind), stream)), sound(engine.speak(prepare("plain")))
        jobs = [engine.speak(prepare(kind), stream) for _ in range(2)] + [engine.speak(prepare("plain"))]
        first, second, plain = (sound(job) for job in jobs)
    assert torch.equal(first, alone) and torch.equal(second, alone) and torch.equal(plain, other)


def test_chunks_with_an_adapter_come_before_their_segment_is_done(prepare):
    with engine_of(prepare("plain").model) as engine:
        parts = list(engine.speak(prepare("adapter", [TEXTS[0]], max_mel_tokens=200), "chunks"))
    assert len(parts) >= 2 and parts[0].spoken.index == 0
    assert parts[-1].spoken.codes == 200 or parts[-1].spoken.stopped
    assert 0 < len(parts[0].chunk.wave) < len(sound(parts)) / 2


@pytest.mark.parametrize("kind", ["adapter", "source"])
@pytest.mark.parametrize("stage", ["segment", "s2mel", "vocoder"])
def test_it_can_be_cancelled_at_any_stage(prepare, kind, stage):
    with engine_of(prepare("plain").model) as engine:
        jobs = []

        def cancel(here, step, of):
            if here == stage and jobs:
                jobs[0].cancel()

        jobs.append(engine.speak(prepare(kind, progress=cancel)))
        with pytest.raises(Cancelled):
            list(jobs[0])
        until(lambda: not any(engine.counts().values()))
        assert len(list(engine.speak(prepare("plain")))) == len(SCRIPT)


def test_a_reader_that_stops_holds_little_and_no_thread(prepare):
    with engine_of(prepare("plain").model, segment_batch=1) as engine:
        stopped = engine.speak(prepare("adapter", TEXTS * 4))
        until(lambda: stopped.unread == engine.limits.most_ahead)
        assert len(list(engine.speak(prepare("plain")))) == len(SCRIPT)
        assert stopped.unread == engine.limits.most_ahead and engine.counts()["to_voice"] == 0
        assert len(list(stopped)) == 16


def test_others_have_their_turn_between_its_segments(prepare):
    with engine_of(prepare("plain").model) as engine:
        told = []
        long = engine.speak(prepare("adapter", TEXTS * 4))
        reader = threading.Thread(target=lambda: told.extend(long))
        reader.start()
        until(lambda: told)
        assert len(list(engine.speak(prepare("plain", TEXTS[:1])))) == 1
        assert len(told) < 16
        reader.join(PATIENCE)
    assert len(told) == 16
