"""The service without a server: what comes beside the audio, streams, markup, health, what is left."""

import contextlib
import json
import zipfile
from itertools import pairwise

import pytest
import soundfile
import torch

from pipeline.audio import write_wav
from pipeline.deterministic import tone
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import MODELS

QUICK = dict(max_mel_tokens=50, diffusion_steps=1, num_beams=1, seed=7)
by_every_model = pytest.mark.parametrize("service", MODELS, indirect=True)
TEXT = "One fox ran.\n\nTwo dogs slept. [pause:0.3s] Three cats [of mine] sat."


@pytest.fixture(scope="module", params=["mini"])
def service(request):
    service = Service(Settings.read(model=request.param))
    service.warm_up()
    return service


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip"
    write_wav(path, tone("service", 1.5, 16000)[0], 16000)
    return path


@by_every_model
def test_extras_come_in_a_zip_file_that_agrees_with_the_audio(service, speaker, tmp_path):
    result = service.run(
        Request(
            TEXT, speaker, receipt=True, subtitles="srt", return_voice=True, output_format="flac", **QUICK
        ),
        tmp_path,
    )
    assert result.path.name == "speech.zip"
    with zipfile.ZipFile(result.path) as archive:
        assert set(archive.namelist()) == {
            "speech.flac",
            "speech.json",
            "speech.srt",
            "voice.voice.safetensors",
        }
        archive.extractall(tmp_path)
    told, info = json.loads((tmp_path / "speech.json").read_text()), soundfile.info(tmp_path / "speech.flac")
    assert told["seed"] == 7 and told["fingerprint"] == service.model.fingerprint
    assert told["audio_seconds"] == pytest.approx(info.duration, abs=0.001)
    spans = [(segment["start"], segment["end"]) for segment in told["segments"]]
    assert all(a < b for a, b in spans) and all(a[1] <= b[0] for a, b in pairwise(spans))
    assert (tmp_path / "speech.srt").read_text().count("-->") == len(spans) >= 3
    (tmp_path / "again").mkdir()
    voiced = service.run(
        Request(TEXT, tmp_path / "voice.voice.safetensors", output_format="flac", **QUICK), tmp_path / "again"
    )
    assert voiced.path.read_bytes() == (tmp_path / "speech.flac").read_bytes()


def test_the_same_request_gives_the_same_zip_but_for_its_timings(service, speaker, tmp_path):
    request = Request("One fox.", speaker, subtitles="vtt", **QUICK)
    once, again = (service.run(request, tmp_path).path.read_bytes() for _ in range(2))
    assert once == again


@by_every_model
def test_streamed_chunks_are_the_whole_file(service, speaker, tmp_path):
    request = Request(TEXT, speaker, quick_start_tokens=60, **QUICK)
    whole, rate = soundfile.read(service.run(request, tmp_path).path, dtype="int16")
    chunks = [soundfile.read(path, dtype="int16")[0] for path in service.stream(request, tmp_path)]
    assert len(chunks) >= 3 and rate == 22050
    assert (torch.cat([torch.from_numpy(chunk) for chunk in chunks]) == torch.from_numpy(whole)).all()


def test_a_pause_is_silence_of_its_length(service, speaker, tmp_path):
    paused = service.run(
        Request("One fox. [pause:2s] Two dogs.", speaker, segment_silence_ms=0, **QUICK), tmp_path
    )
    samples, rate = soundfile.read(paused.path)
    silent = torch.from_numpy(samples).abs().unfold(0, 2 * rate - 100, 50).max(dim=1).values == 0
    assert silent.any()


@by_every_model
def test_glossary_and_language_change_what_is_read(service, speaker, tmp_path):
    def text_of(**more):
        with zipfile.ZipFile(
            service.run(Request("AI in 2024", speaker, receipt=True, **QUICK, **more), tmp_path).path
        ) as archive:
            return " ".join(
                segment["text"] for segment in json.loads(archive.read("speech.json"))["segments"]
            ).lower()

    assert "artificial" in text_of(glossary="AI=artificial intelligence")
    if "zh" in service.model.config.languages:
        assert text_of(language="zh") != text_of(language="en")


@by_every_model
def test_random_emotion_follows_the_seed(service, speaker, tmp_path):
    def wave(**more):
        return service.run(
            Request("One fox.", speaker, emotion_vector="angry=1", **(QUICK | more)), tmp_path
        ).path.read_bytes()

    assert wave(emotion_random=True) == wave(emotion_random=True)
    assert any(wave(emotion_random=True, seed=seed) != wave(seed=seed) for seed in range(3)), (
        "a draw may be the nearest voice"
    )


def test_health_and_nothing_of_a_request_stays(service, speaker, tmp_path):
    assert service.healthy()
    before = set(vars(service))
    service.run(Request("One fox.", speaker, **QUICK), tmp_path)
    assert set(vars(service)) == before
    with pytest.raises(ValueError):
        service.run(Request("", speaker, **QUICK), tmp_path)
    assert service.healthy()


def test_an_abandoned_stream_leaves_only_what_was_sent(service, speaker, tmp_path):
    stream = service.stream(Request(TEXT, speaker, **QUICK), tmp_path)
    first = next(stream)
    stream.close()
    assert list(tmp_path.iterdir()) == [first] and service.healthy()


def test_text_and_paths_stay_out_of_the_log(service, speaker, caplog, tmp_path):
    caplog.set_level("DEBUG")
    service.run(Request("Xylophone secrets.", speaker, glossary="secrets=zebra", **QUICK), tmp_path)
    assert (
        "ylophone" not in caplog.text.lower()
        and "zebra" not in caplog.text
        and str(speaker) not in caplog.text
    )


def test_health_is_what_the_last_synthesis_left(service, speaker, tmp_path, monkeypatch):
    """Samples that are no numbers and a device that fails make it ill; the next good one makes it well."""
    request = Request("One fox.", speaker, **QUICK)
    bias = service.model.vocoder.conv_post.weight
    saved = bias.clone()
    bias.fill_(float("nan"))
    try:
        with contextlib.suppress(ValueError):
            service.run(request, tmp_path)
    finally:
        bias.copy_(saved)
    assert not service.healthy()
    service.run(request, tmp_path)
    assert service.healthy()

    def lost(*_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(service.synthesizer, "wave", lost)
        service.run(request, tmp_path)
    assert not service.healthy()
    service.run(request, tmp_path)
    assert service.healthy()
