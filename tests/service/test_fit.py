"""A result of exactly the length that was asked for."""

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audio import write_wav
from pipeline.deterministic import tone
from service.fit import LEAST, MOST, shares
from service.request import Request
from service.service import Service
from service.settings import Settings

QUICK = dict(max_mel_tokens=60, diffusion_steps=1, num_beams=1, seed=7)
TEXT = "One fox ran.\n\nTwo dogs slept.[pause:0.2s]"
RATE = 22050


@pytest.fixture(scope="module")
def service():
    return Service(Settings.read(model="tiny-en"))


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip"
    write_wav(path, tone("service", 1.5, 16000)[0], 16000)
    return path


@pytest.fixture(scope="module")
def natural(service, speaker, tmp_path_factory) -> float:
    """Seconds of the text as it comes."""
    result = service.run(Request(TEXT, speaker, **QUICK), tmp_path_factory.mktemp("natural"))
    return soundfile.info(result.path).duration


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.5])
def test_it_lasts_what_was_asked_for_to_the_sample(service, speaker, natural, tmp_path, factor):
    seconds = round(factor * natural, 3) + 0.0007
    result = service.run(Request(TEXT, speaker, duration=seconds, receipt=False, **QUICK), tmp_path)
    assert soundfile.info(result.path).frames == round(seconds * RATE)


def test_pauses_keep_their_length_and_segments_their_share(service, speaker, natural, tmp_path):
    parts = list(service.parts(service.prepare(Request(TEXT, speaker, duration=1.3 * natural, **QUICK))))
    plain = list(service.parts(service.prepare(Request(TEXT, speaker, **QUICK))))
    pauses = [len(part.chunk.wave) for part in parts if not hasattr(part.spoken, "codes")]
    assert pauses == [round(seconds * RATE) for seconds in (0.8, 0.2)]
    long, short = ([p.spoken for p in made if hasattr(p.spoken, "codes")] for made in (parts, plain))
    assert [said.codes for said in long] == [said.codes for said in short]
    factors = [len(a.wave) / (1.72 * 256 * a.codes) for a in long]
    assert max(factors) - min(factors) < 0.05 and min(factors) > 1.2


@pytest.mark.parametrize("format, slack", [("flac", 0.001), ("ogg", 0.01), ("opus", 0.01), ("mp3", 0.01)])
def test_it_lasts_as_long_in_every_format(service, speaker, natural, tmp_path, format, slack):
    request = Request(TEXT, speaker, duration=natural, output_format=format, **QUICK)
    samples, rate = soundfile.read(service.run(request, tmp_path).path)
    assert len(samples) / rate == pytest.approx(natural, abs=slack)


def test_a_stream_has_the_same_samples(service, speaker, natural, tmp_path):
    request = Request(TEXT, speaker, duration=1.2 * natural, **QUICK)
    (tmp_path / "stream").mkdir()
    streamed = [
        soundfile.read(path, dtype="int16")[0] for path in service.stream(request, tmp_path / "stream")
    ]
    whole = soundfile.read(service.run(request, tmp_path).path, dtype="int16")[0]
    assert [sample for part in streamed for sample in part] == list(whole)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_what_cannot_be_is_refused_with_what_can(service, speaker, natural, tmp_path, factor):
    with pytest.raises(ValueError, match="this text takes .* s by itself, possible are") as refused:
        service.run(Request(TEXT, speaker, duration=factor * natural, **QUICK), tmp_path)
    low, high = str(refused.value).removesuffix(" s").split("possible are ")[1].split(" to ")
    for possible in (float(low), float(high) - 0.02):
        result = service.run(Request(TEXT, speaker, duration=possible, **QUICK), tmp_path)
        assert soundfile.info(result.path).frames == round(possible * RATE)


def test_speed_and_duration_contradict_each_other(speaker):
    with pytest.raises(ValueError, match="give one of them"):
        Request("x", speaker, duration=2.0, speed=1.2).checked()
    assert Request("x", speaker, duration=2.0, speed=1.0).checked().duration == 2.0


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=30), st.integers(0, 100_000))
def test_shares_add_up_and_are_in_proportion(natural, total):
    given_frames, whole = shares(natural, total), sum(natural)
    if not whole or not LEAST * whole <= total <= MOST * whole:
        assert given_frames is None
    else:
        assert sum(given_frames) == total
        for frames, own in zip(given_frames, natural, strict=True):
            assert abs(frames - own * total / whole) < 1 and (frames == 0 or own > 0)
