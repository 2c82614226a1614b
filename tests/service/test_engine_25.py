"""IndexTTS-2.5 in the engine: five languages in one batch, each as it is alone; and spoken while it is made."""

import dataclasses

import pytest
import torch

from checks.heads import ShiftedHead
from pipeline.deterministic import tone
from pipeline.gpt.batch import BatchDecoder, alike
from pipeline.gpt.decode import decode
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.pieces import VOCODER_RIGHT
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text.languages import SPOKEN
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import prepare_text
from pipeline.text.tokenizers import load_tokenizer
from pipeline.timing import Stopwatch, Watch
from pipeline.voice import make_voice
from service.finish.segment import finish_segment
from service.prepared import Piece
from service.speak import Spoken
from tests.conftest import VOCABULARY_25
from tests.service.engines import engine_of, prepared_of

SAID = {
    "zh": "你好，今天3月14日。",
    "en": "Hello at 8:30, <minute|M AY0 N UW1 T>.",
    "ja": "こんにちは、3人。",
    "es": "¡Hola! Son 25 perros.",
    "ar": "مرحبا، الساعة 8:30.",
}
CODES = 40


@pytest.fixture(scope="module")
def texts(mini_model_25):
    tokenizer = load_tokenizer(VOCABULARY_25, mini_model_25.config.gpt.number_text_tokens)
    normalizer = TextNormalizer(languages=SPOKEN, annotated=True)
    return [prepare_text(text, normalizer, tokenizer)[0] for text in SAID.values()]


@pytest.fixture(scope="module")
def voice(mini_model_25):
    return make_voice(mini_model_25, tone("engine 2.5", 1.2, 22050), 22050)


def delivered(model, voice, **changes) -> Delivery:
    values = {"max_mel_tokens": CODES, "diffusion_steps": 1, "num_beams": 1} | changes
    return Delivery(voice, voice.emotion_vector, dataclasses.replace(model.config.synthesis, **values))


def watch(model) -> Watch:
    return Watch(Stopwatch(model.device))


def test_each_language_has_its_row_and_its_tag(texts):
    assert len({text.language_row for text in texts}) == len(SAID)
    assert [text.pieces.split(" ")[0] for text in texts] == [f"<|{language}|>" for language in SAID]


@pytest.mark.parametrize("positions", ["trained", "published"])
def test_codes_in_company_are_those_alone(mini_model_25, voice, texts, positions):
    synthesizer, batch, alone, here = Synthesizer(mini_model_25), BatchDecoder(mini_model_25.gpt), [], {}
    for place, text in enumerate(texts):
        delivery = delivered(mini_model_25, voice, num_beams=1 + place % 3, mel_positions=positions)
        asked = synthesizer.prompt(text, delivery), synthesizer.sampling(delivery.options)
        assert asked[0].shape[1] == synthesizer.prompt_rows(text)
        alone.append(decode(mini_model_25.gpt, *asked, torch.Generator().manual_seed(place)))
        here[batch.join(*asked, torch.Generator().manual_seed(place))] = place
        batch.step()  # each joins when the others are a step further
    while len(batch):
        batch.step()
    for sequence, place in here.items():
        assert sequence.error is None
        assert torch.equal(sequence.decoded.codes, alone[place].codes)
    assert alike(mini_model_25.gpt)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_devices_decoder_gives_the_same_codes(mini_model_25, voice, texts, beams):
    """Run on the CPU; the most likely codes, for its random numbers are others."""
    synthesizer, batch = Synthesizer(mini_model_25), DeviceBatch(mini_model_25.gpt, 8, 2**30)
    delivery = delivered(mini_model_25, voice, num_beams=beams, temperature=0.0)
    prompts = [synthesizer.prompt(text, delivery) for text in texts]
    options = synthesizer.sampling(delivery.options)
    here = [batch.join(prompt, options, torch.Generator().manual_seed(0)) for prompt in prompts]
    while len(batch):
        batch.step()
    for sequence, prompt in zip(here, prompts, strict=True):
        alone = decode(mini_model_25.gpt, prompt, options, torch.Generator())
        assert sequence.error is None and torch.equal(sequence.decoded.codes, alone.codes)


def test_latents_that_nobody_reads_cost_no_second_pass(mini_model_25, voice, texts, monkeypatch):
    def refused(*_):
        raise AssertionError("a second pass for nothing")

    monkeypatch.setattr("pipeline.gpt.decode.latent_pass", refused)
    delivery = delivered(mini_model_25, voice, mel_positions="published")
    decoded = Synthesizer(mini_model_25).codes(texts[0], delivery, torch.Generator().manual_seed(0))
    assert len(decoded.codes)


def test_the_waves_of_five_languages_at_once_are_those_alone(mini_model_25, voice, texts):
    """In `exact`; as one request and as five at the same time."""
    synthesizer, delivery = Synthesizer(mini_model_25), delivered(mini_model_25, voice)
    with engine_of(mini_model_25) as engine:
        together = list(engine.speak(prepared_of(mini_model_25, texts, delivery, watch(mini_model_25), 3)))
        jobs = [
            engine.speak(prepared_of(mini_model_25, [text], delivery, watch(mini_model_25), 3))
            for text in texts
        ]
        apart = [next(iter(list(job))) for job in jobs]
    for text, part in [*zip(texts, together, strict=True), *zip(texts, apart, strict=True)]:
        alone = synthesizer.segment(text, delivery, part.spoken.seed, watch(mini_model_25))
        assert part.spoken.text == text.text
        assert torch.equal(part.spoken.wave, finish_segment(alone.wave, synthesizer.sample_rate).wave)


@pytest.mark.parametrize("speed", [1.0, 1.6])
def test_spoken_while_it_is_made(mini_model_25, voice, texts, monkeypatch, speed):
    """As many samples as the whole; the first piece is made of half a second of codes, of which 0.1 s is held."""
    gpt = mini_model_25.gpt
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))
    delivery = delivered(mini_model_25, voice, speed=speed)
    with engine_of(mini_model_25) as engine:
        parts = list(
            engine.speak(prepared_of(mini_model_25, texts[:2], delivery, watch(mini_model_25)), "chunks")
        )
    pieces = [part for part in parts if isinstance(part.spoken, Piece)]
    assert pieces and sum(isinstance(part.spoken, Spoken) for part in parts) == 2
    frames = int(CODES * 3.44 * (1 / speed))
    gap = round(delivery.options.segment_silence_ms / 1000 * 22050)
    assert parts[-1].chunk.end == 2 * frames * 256 + gap
    first, held = 13, 3
    known = int(first * 3.44 * (1 / speed))
    assert len(pieces[0].chunk.wave) == (int(known * (first - held) / first) - VOCODER_RIGHT) * 256
