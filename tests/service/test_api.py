"""The public API: what it gives is what the service gives, and its errors are ValueErrors."""

import numpy as np
import pytest

import speech
from tests.conftest import ROOT

SPEAKER = ROOT / "examples/speaker.wav"
QUICK = {"num_beams": 1, "diffusion_steps": 1, "max_mel_tokens": 50, "seed": 7}
TEXT = "One fox ran over the hill.\n\nTwo dogs slept in the sun."


@pytest.fixture(scope="module")
def tts() -> speech.TextToSpeech:
    return speech.load("mini")


@pytest.fixture(scope="module")
def said(tts) -> speech.Speech:
    return tts.say(TEXT, SPEAKER, **QUICK)


def test_the_same_seed_gives_the_same_file(tts, said, tmp_path):
    assert tts.say(TEXT, str(SPEAKER), **QUICK).content == said.content
    assert said.save(tmp_path / "out.wav").read_bytes() == said.content
    assert said.metrics["seed"] == 7 and said.metrics["model"] == "mini"


def test_a_stream_is_the_whole_in_parts(tts, said):
    parts = [part.samples() for part in tts.stream(TEXT, SPEAKER, **QUICK)]
    whole, rate = said.samples()
    assert len(parts) >= 2 and {part_rate for _, part_rate in parts} == {rate}
    assert np.array_equal(np.concatenate([samples for samples, _ in parts]), whole)


def test_a_format_is_asked_for_and_not_guessed_from_the_name(tts, said, tmp_path):
    with pytest.raises(ValueError, match="output_format"):
        said.save(tmp_path / "out.flac")
    assert list(tmp_path.iterdir()) == []
    flac = tts.say(TEXT, SPEAKER, output_format="flac", **QUICK)
    assert flac.save(tmp_path / "out.flac").read_bytes()[:4] == b"fLaC"
    assert np.array_equal(flac.samples()[0], said.samples()[0])


def test_extras_come_as_a_zip_file(tts):
    extra = tts.say(TEXT, SPEAKER, receipt=True, **QUICK)
    assert extra.suffix == ".zip" and extra.content[:2] == b"PK"
    with pytest.raises(ValueError, match="ZIP"):
        extra.samples()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sped": 2}, "unknown input sped; allowed: text, speaker"),
        ({"speed": 3.0}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"seed": -1}, "seed"),
        ({"text": " "}, "white space"),
        ({"speaker": "nowhere.wav"}, "speaker is 'nowhere.wav'"),
        ({"speaker": None}, "speaker is missing"),
        ({"speaker": 3}, "speaker is '3'"),
        ({"emotion_audio": "."}, "emotion_audio is '.'"),
        ({"emotion_audio": SPEAKER, "emotion_vector": "happy=1"}, "at most one source"),
        ({"speaker": ROOT / "README.md"}, "audio"),
    ],
)
def test_bad_input_is_a_value_error_of_one_line(tts, change, message):
    values = {"text": "Hello.", "speaker": SPEAKER} | QUICK | change
    with pytest.raises(ValueError, match=message) as e:
        tts.say(**values)
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match=message):
        next(tts.stream(**values))


def test_a_stream_takes_no_input_of_a_whole_file(tts):
    with pytest.raises(ValueError, match="loudness, output_format: not for a stream"):
        next(tts.stream("Hello.", SPEAKER, output_format="mp3", loudness=-16.0))


def test_no_such_model():
    with pytest.raises(ValueError, match="INDEXTTS_MODEL is 'nope'; allowed: "):
        speech.load("nope")
