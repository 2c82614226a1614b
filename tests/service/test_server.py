"""The real coglet server: a good request, every bad one, and the good one again."""

import io

import numpy as np
import pytest
import soundfile

from pipeline.deterministic import tone
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import MODELS
from tests.service.server import data_uri, wave_of

QUICK = {"max_mel_tokens": 50, "diffusion_steps": 1, "num_beams": 1, "seed": 7}
TEXT = "The quick brown fox."
by_every_model = pytest.mark.parametrize("server", MODELS, indirect=True)


def wav(samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


SPEECH = tone("server", 1.5, 16000)[0].numpy()
SPEAKER = data_uri(wav(SPEECH))
NOT_FINITE = SPEECH.copy()
NOT_FINITE[1000] = np.nan

BAD = {
    "no text": ({"text": None}, "text"),
    "empty text": ({"text": ""}, "the text is empty"),
    "whitespace": ({"text": "  \n\t "}, "white space"),
    "unspeakable": ({"text": "?!… 😀 ---"}, "nothing to read aloud"),
    "text of 100,000 characters": ({"text": "word " * 20_000}, "100,000 characters; at most 20,000"),
    "unknown tokens": ({"text": "ꙮꙮꙮ ᛗᛗ"}, "vocabulary"),
    "text is a number": ({"text": 5}, "text"),
    "no speaker": ({"speaker": None}, "speaker"),
    "empty speaker file": ({"speaker": data_uri(b"")}, "empty"),
    "silent speaker": ({"speaker": data_uri(wav(np.zeros(32000)))}, "silent"),
    "short speaker": ({"speaker": data_uri(wav(SPEECH[:8000]))}, "0.50 s long; at least 1 s"),
    "NaN samples": ({"speaker": data_uri(wav(NOT_FINITE, subtype="FLOAT"))}, "not finite"),
    "not audio": ({"speaker": data_uri(b"#!/bin/sh\necho no\n" * 50)}, "no audio format"),
    "bad base64": ({"speaker": "data:audio/wav;base64,@@@@"}, ""),
    "a path": ({"speaker": "/etc/passwd"}, "speaker is not a file"),
    "a file URL": ({"speaker": "file:///etc/passwd"}, "speaker is not a file"),
    "an empty string": ({"speaker": ""}, "speaker is not a file"),
    "emotion path": ({"emotion_audio": "/etc/hostname"}, "emotion_audio is not a file"),
    "two emotions": ({"emotion_vector": "happy=1", "emotion_text": "sad"}, "at most one source"),
    "unknown emotion": ({"emotion_vector": "joyful=1"}, "joyful"),
    "no emotion model": ({"emotion_text": "very sad"}, "does not hold"),
    "no denoiser": ({"denoise": True}, "denoise needs"),
    "random emotion of nothing": ({"emotion_random": True}, "emotion_random"),
    "language": ({"language": "fr"}, "language"),
    "format": ({"output_format": "wma"}, "output_format"),
    "opus at 44100": ({"output_format": "opus", "sample_rate": 44100}, "sample_rate"),
    "speed": ({"speed": 3}, "speed"),
    "a long pause": ({"text": "a [pause:10h] b"}, "pause"),
    "only pauses": ({"text": "[pause:1s]"}, "only pauses"),
    "glossary": ({"glossary": "no reading"}, "glossary"),
    "temperature": ({"temperature": -1}, "temperature"),
    "top_p": ({"top_p": 0}, "top_p"),
    "fraction of a beam": ({"num_beams": 1.5}, "num_beams"),
    "steps": ({"diffusion_steps": 0}, "diffusion_steps"),
    "seed": ({"seed": -1}, "seed"),
}
ODD = {
    "stereo": wav(np.stack([SPEECH, SPEECH], axis=1)),
    "8 kHz": wav(tone("low", 1.5, 8000)[0].numpy(), 8000),
    "192 kHz": wav(tone("high", 1.2, 192000)[0].numpy(), 192000),
    "20 s": wav(tone("long", 20.0, 16000)[0].numpy()),
    "float": wav(SPEECH, subtype="FLOAT"),
}


@pytest.fixture(scope="module")
def first(server) -> bytes:
    return wave_of(server.predict(text=TEXT, speaker=SPEAKER, **QUICK))


@by_every_model
def test_a_request_gives_speech_at_the_models_rate(server, first):
    samples, rate = soundfile.read(io.BytesIO(first))
    info = soundfile.info(io.BytesIO(first))
    assert (rate, info.channels, info.subtype, info.format) == (22050, 1, "PCM_16", "WAV")
    assert 0.5 < len(samples) / rate < 3 and np.abs(samples).max() > 0.01


@by_every_model
def test_its_bytes_are_the_services_own_however_often(server, first, tmp_path):
    """What a fixed request gives: over HTTP, and from another process without a server, twice; in the precision whose
    kernels each process chooses by measuring."""
    model = server.predict(text=TEXT, speaker=SPEAKER, **QUICK)["metrics"]["model"]
    speaker = tmp_path / "speaker.wav"
    speaker.write_bytes(wav(SPEECH))
    service = Service(Settings.read(model=model))
    assert service.model.precision == "fast"
    for _ in range(2):
        assert service.run(Request(TEXT, speaker, **QUICK), tmp_path).path.read_bytes() == first


def test_metrics_tell_stages_and_speed(server):
    prediction = server.predict(text=TEXT, speaker=SPEAKER, **QUICK)
    metrics = prediction["metrics"]
    assert set(metrics["timing"]) == {
        "adapter",
        "text",
        "voice",
        "emotion",
        "gpt",
        "s2mel",
        "vocoder",
        "finish",
        "encode",
    }
    assert metrics["seed"] == 7 and metrics["real_time_factor"] > 0 and metrics["segments"] == 1


@by_every_model
def test_the_same_seed_gives_the_same_bytes_another_does_not_and_zero_is_a_seed(server, first):
    def speak(seed):
        return wave_of(server.predict(text=TEXT, speaker=SPEAKER, **(QUICK | {"seed": seed})))

    assert speak(7) == first
    assert speak(8) != first
    zero = speak(0)
    assert zero == speak(0) and zero != first


def test_without_a_seed_two_requests_differ_and_report_theirs(server, first):
    request = {"text": TEXT, "speaker": SPEAKER, **QUICK}
    del request["seed"]
    one, two = (server.predict(**request) for _ in range(2))
    assert wave_of(one) != wave_of(two)
    assert wave_of(server.predict(**request, seed=one["metrics"]["seed"])) == wave_of(one)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_that_says_what_is_allowed_and_the_next_request_works(server, first, name):
    change, message = BAD[name]
    request = {
        key: value
        for key, value in ({"text": TEXT, "speaker": SPEAKER, **QUICK} | change).items()
        if value is not None
    }
    prediction = server.predict(**request)
    assert prediction["status"] in ("failed", "http_422"), prediction
    assert message in str(prediction["error"])
    if prediction["status"] == "failed":
        assert "\n" not in prediction["error"].strip()
    server.wait_until_ready()


@pytest.mark.parametrize("name", ODD)
def test_odd_but_usable_references(server, name):
    wave_of(server.predict(text=TEXT, speaker=data_uri(ODD[name]), **QUICK))


@pytest.mark.parametrize(
    "emotion",
    [
        {"emotion_audio": data_uri(wav(tone("other", 1.5, 16000)[0].numpy()))},
        {"emotion_vector": "sad=0.8"},
        {"emotion_vector": "sad=0.8", "emotion_alpha": 0.5},
    ],
)
def test_emotion_changes_the_speech(server, first, emotion):
    assert wave_of(server.predict(text=TEXT, speaker=SPEAKER, **QUICK, **emotion)) != first


def test_emotion_of_no_strength_changes_nothing(server, first):
    assert (
        wave_of(
            server.predict(text=TEXT, speaker=SPEAKER, emotion_vector="sad=0.8", emotion_alpha=0, **QUICK)
        )
        == first
    )


def test_after_all_this_the_same_request_gives_the_same_bytes_and_little_is_left(server, first):
    assert wave_of(server.predict(text=TEXT, speaker=SPEAKER, **QUICK)) == first
    assert [path for path in server.left_behind() if not path.endswith("/speech.wav")] == []
