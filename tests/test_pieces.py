"""A segment spoken in pieces: nothing lost, nothing twice, no click, and the segments' order kept."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from checks.heads import ShiftedHead
from pipeline.deterministic import tone
from pipeline.gpt.decode import Decoded
from pipeline.pieces import FIRST_CODES, HELD_CODES, VOCODER_RIGHT, Pieces
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text.markup import Pause
from pipeline.text.prepare import TextSegment
from pipeline.timing import Stopwatch, Watch, no_progress
from pipeline.voice import make_voice
from service.prepared import Piece
from service.speak import Spoken
from tests.service.engines import engine_of, prepared_of

TEXTS = [TextSegment("one", [10, 20, 30]), TextSegment("two", [40, 50])]
SCRIPT = (TEXTS[0], Pause(0.1), TEXTS[1])


@pytest.fixture(scope="module")
def delivery(mini_model):
    voice = make_voice(mini_model, tone("pieces", 1.2, 22050), 22050)
    options = dataclasses.replace(
        mini_model.config.synthesis, max_mel_tokens=90, diffusion_steps=1, num_beams=3
    )
    return Delivery(voice, voice.emotion_vector, options)


def watch(model, progress=no_progress) -> Watch:
    return Watch(Stopwatch(model.device), progress)


def decoded_of(model, count: int) -> Decoded:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 64, (200,), generator=generator)
    latents = torch.randn(200, model.config.gpt.model_dim, generator=generator)
    return Decoded(codes[:count], latents[:count], True)


@pytest.mark.parametrize("steps", [(25, 75, 130), (25, 26, 40), (3,), (0,), (4, 4)])
def test_as_many_samples_as_the_whole(mini_model, delivery, steps):
    synthesizer = Synthesizer(mini_model)
    pieces = Pieces(synthesizer, delivery, torch.Generator().manual_seed(0), watch(mini_model))
    waves = [
        pieces.speak(decoded_of(mini_model, count), place + 1 == len(steps))
        for place, count in enumerate(steps)
    ]
    assert sum(map(len, waves)) == synthesizer.frames(decoded_of(mini_model, steps[-1]), 1.0) * 256
    assert all(torch.isfinite(wave).all() for wave in waves)


def test_the_first_piece_comes_after_half_a_second_of_codes(mini_model, delivery):
    synthesizer = Synthesizer(mini_model)
    pieces = Pieces(synthesizer, delivery, torch.Generator().manual_seed(0), watch(mini_model))
    assert not pieces.wants(FIRST_CODES - 1) and pieces.wants(FIRST_CODES)
    wave = pieces.speak(decoded_of(mini_model, FIRST_CODES), False)
    frames = int(1.72 * (FIRST_CODES - HELD_CODES)) - VOCODER_RIGHT
    assert abs(len(wave) / 256 - frames) <= 1
    assert not pieces.wants(FIRST_CODES + 1)


def test_mel_that_was_said_stays(mini_model, delivery):
    pieces = Pieces(Synthesizer(mini_model), delivery, torch.Generator().manual_seed(0), watch(mini_model))
    pieces.speak(decoded_of(mini_model, 25), False)
    said = pieces.mel.clone()
    pieces.speak(decoded_of(mini_model, 80), False)
    assert torch.equal(pieces.mel[..., : said.shape[-1]], said)


def test_a_frame_has_its_noise_however_the_segment_is_cut(mini_model, delivery):
    noises = []
    for counts in [(25, 75, 130), (31, 40, 130)]:
        pieces = Pieces(
            Synthesizer(mini_model), delivery, torch.Generator().manual_seed(0), watch(mini_model)
        )
        for count in counts:
            pieces.speak(decoded_of(mini_model, count), count == counts[-1])
        noises.append(pieces.noise)
    assert torch.equal(*noises)


@pytest.fixture
def spoken(mini_model, delivery, monkeypatch):
    gpt = mini_model.gpt
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))

    def speak(seed=0, script=SCRIPT, progress=no_progress):
        prepared = prepared_of(mini_model, script, delivery, watch(mini_model, progress), seed)
        with engine_of(mini_model) as engine:
            return list(engine.speak(prepared, "chunks"))

    return speak


def test_pieces_of_a_script_come_in_order_and_fit(spoken):
    parts = spoken()
    kinds = [type(part.spoken) for part in parts]
    assert kinds[0] is Piece and kinds[-1] is Spoken and kinds.count(Spoken) == 2 and Pause in kinds
    order = [part.spoken.text for part in parts if isinstance(part.spoken, (Piece, Spoken))]
    assert order == sorted(order)
    for before, after in pairwise(parts):
        assert after.chunk.start == before.chunk.end  # the pause is one of its own
    samples = sum(len(part.chunk.wave) for part in parts)
    assert samples == parts[-1].chunk.end == 2 * int(1.72 * 90) * 256 + round(0.1 * 22050)
    assert [part.spoken.codes for part in parts if isinstance(part.spoken, Spoken)] == [90, 90]
    assert "length limit" in parts[-1].spoken.warnings[0]


def test_no_code_is_made_while_the_first_sound_is(spoken):
    stages = []
    spoken(script=TEXTS[:1], progress=lambda stage, step, of: stages.append(stage))
    flow = stages.index("s2mel")
    vocoder = stages.index("vocoder")
    assert stages[:flow].count("gpt") > FIRST_CODES and "gpt" not in stages[flow:vocoder]
    assert stages[vocoder:].count("gpt") > 90 - 2 * FIRST_CODES  # and then they are


def test_a_segment_begins_and_ends_at_zero_and_nowhere_else(spoken):
    first = [part.chunk.wave for part in spoken() if not isinstance(part.spoken, Pause)]
    assert first[0][0] == 0 and first[-1][-1] == 0
    assert all(wave[0] != 0 for wave in first[1:3])


def test_a_gap_between_segments_and_none_between_pieces(spoken):
    parts = spoken(script=TEXTS)
    gap = round(0.2 * 22050)
    starts = [part.chunk.start - before.chunk.end for before, part in pairwise(parts)]
    assert starts.count(gap) == 1 and starts.count(0) == len(starts) - 1


def test_a_stream_that_is_none_is_refused(mini_model, delivery):
    with (
        engine_of(mini_model) as engine,
        pytest.raises(ValueError, match="stream is 'all'; allowed: segments"),
    ):
        engine.submit(None, "all")
