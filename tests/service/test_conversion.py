"""Voice conversion as a request: what it refuses and why, files and streams, whose voice it is."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from pipeline.audio import kaldi_fbank, resample, write_wav
from pipeline.deterministic import tone
from pipeline.voice_file import write_voice
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import MODELS, ROOT
from tests.service.server import data_uri, wave_of

QUICK = dict(diffusion_steps=1, seed=7)
VOICES = ("speaker.wav", "george.flac", "isabella.flac", "puck.flac")
PAIR_SECONDS = 2.5


@pytest.fixture(scope="module", params=MODELS)
def service(request):
    return Service(Settings.read(model=request.param))


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    for name, seconds in (("speaker", 1.5), ("source", 1.2), ("long", 16.0)):
        write_wav(folder / name, tone(name, seconds, 16000)[0], 16000)
    return {path.name: path for path in folder.iterdir()}


def request(clips, **more) -> Request:
    return Request(None, clips["speaker"], **({"source_audio": clips["source"]} | QUICK | more))


def test_the_result_is_as_long_as_its_source_and_told_as_one_segment(service, clips, tmp_path):
    result = service.run(request(clips, receipt=True, output_format="flac"), tmp_path)
    with zipfile.ZipFile(result.path) as archive:
        archive.extractall(tmp_path)
    told, info = json.loads((tmp_path / "speech.json").read_text()), soundfile.info(tmp_path / "speech.flac")
    assert abs(info.duration - 1.2) <= 256 / 22050
    (segment,) = told["segments"]
    codes = 1.2 * 22050 / 256 / service.model.config.s2mel.regulator.frames_per_code
    assert int(codes) - segment["codes"] in (0, 1)
    assert (segment["start"], segment["seed"]) == (0, 7)
    assert segment["end"] == pytest.approx(info.duration, abs=1e-3)
    assert {"timing.source", "timing.voice", "timing.s2mel", "timing.vocoder"} <= set(result.metrics)
    assert "timing.gpt" not in result.metrics


def test_a_stream_of_a_long_source_is_the_whole_file_and_comes_in_parts(service, clips, tmp_path):
    asked = request(clips, source_audio=clips["long"])
    parts = [soundfile.read(path, dtype="int16")[0] for path in service.stream(asked, tmp_path)]
    whole, _ = soundfile.read(service.run(asked, tmp_path).path, dtype="int16")
    assert len(parts) >= 2 and np.array_equal(np.concatenate(parts), whole)
    assert abs(len(whole) - 16 * 22050) <= 256


def test_a_voice_file_gives_the_same_bytes_and_speed_another_length(service, clips, tmp_path):
    reference = service.references.speaker(clips["speaker"], request(clips).reference_options())
    path = tmp_path / "a.voice.safetensors"
    write_voice(path, reference.voice, service.model, reference.source_sha256, "")
    of_clip = service.run(request(clips), tmp_path).path.read_bytes()
    of_file = Request(None, path, source_audio=clips["source"], **QUICK)
    assert service.run(of_file, tmp_path).path.read_bytes() == of_clip
    fast = soundfile.info(service.run(request(clips, speed=1.5), tmp_path).path)
    assert abs(fast.frames - 1.2 / 1.5 * 22050) <= 256


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"emotion_vector": "happy=1"},
            "emotion_vector and source_audio are given; the emotion acts on how a text",
        ),
        ({"emotion_text": "glad"}, "emotion_text and source_audio"),
        ({"emotion_from_text": True}, "emotion_from_text and source_audio"),
        ({"emotion_audio": Path("x")}, "emotion_audio and source_audio"),
        ({"text": "Hello."}, "text and source_audio are given"),
        ({"num_beams": 2, "temperature": 0.5}, "temperature, num_beams and source_audio"),
        ({"glossary": "a=b"}, "glossary and source_audio"),
        ({"language": "en"}, "language and source_audio"),
        ({"subtitles": "srt"}, "subtitles and source_audio"),
        ({"source_audio": None}, "text is missing"),
    ],
)
def test_what_does_not_go_with_a_source_is_refused_with_a_reason(clips, change, message):
    if change.get("source_audio", "") is None:
        with pytest.raises(ValueError, match=message):
            Request(None, clips["speaker"]).checked()
        return
    with pytest.raises(ValueError, match=message) as e:
        Request(change.pop("text", None), clips["speaker"], source_audio=clips["source"], **change).checked()
    assert "\n" not in str(e.value)


def test_a_blank_text_beside_a_source_is_none(clips):
    assert Request(" \n", clips["speaker"], source_audio=clips["source"]).checked().source_audio


def test_a_source_that_is_none_is_told(service, clips, tmp_path):
    reference = service.references.speaker(clips["speaker"], request(clips).reference_options())
    voice = tmp_path / "voice"
    write_voice(voice, reference.voice, service.model, "", "")
    write_wav(tmp_path / "silent", torch.zeros(16000), 16000)
    (tmp_path / "text").write_text("no audio")
    for path, message in (
        (voice, "voice file, which holds no speech"),
        (tmp_path / "silent", "source_audio is silent"),
        (tmp_path / "text", "no audio format"),
    ):
        with pytest.raises(ValueError, match=message):
            service.run(request(clips, source_audio=path), tmp_path)
    assert service.healthy()


def test_samples_that_are_no_numbers_become_silence_and_a_warning(service, clips, tmp_path):
    weight = service.model.vocoder.conv_post.weight
    saved = weight.clone()
    weight.fill_(float("nan"))
    try:
        result = service.run(request(clips), tmp_path)
    finally:
        weight.copy_(saved)
    assert any("not finite" in warning for warning in result.metrics["warnings"]) and not service.healthy()
    service.run(request(clips), tmp_path)
    assert service.healthy()


def style(service: Service, path: Path) -> torch.Tensor:
    samples, rate = soundfile.read(path, dtype="float32")
    wave = resample(torch.from_numpy(samples)[None], rate, 16000)
    with torch.inference_mode():
        return service.model.speaker(kaldi_fbank(wave, 16000, service.model.config.speaker.mel_bins))[0]


def test_it_is_the_speakers_voice_and_not_the_sources(service, tmp_path):
    """Of the embedded voice, which was trained to; by the style encoder. Every example is once source, once speaker."""
    if service.model.config.name != "tiny-en":
        pytest.skip("mini is not trained")
    cut = {name: tmp_path / f"{Path(name).stem}.wav" for name in VOICES}
    for name, path in cut.items():
        samples, rate = soundfile.read(ROOT / "examples" / name, dtype="float32")
        soundfile.write(path, samples[: round(PAIR_SECONDS * rate)], rate)
    styles = {name: style(service, ROOT / "examples" / name) for name in VOICES}
    for source, speaker in zip(VOICES, (*VOICES[1:], VOICES[0]), strict=True):
        asked = Request(None, cut[speaker], source_audio=cut[source], seed=0)
        said = style(service, service.run(asked, tmp_path).path)
        to_speaker, to_source = (
            float(F.cosine_similarity(said, styles[n], dim=0)) for n in (speaker, source)
        )
        assert to_speaker > to_source, (source, speaker, to_speaker, to_source)


def test_the_real_server_says_a_source_again_and_refuses_a_text_beside_it(server, clips):
    speaker, source = (data_uri(clips[name].read_bytes()) for name in ("speaker", "source"))
    answer = server.predict(speaker=speaker, source_audio=source, **QUICK)
    assert answer["status"] == "succeeded", answer
    info = soundfile.info(io.BytesIO(wave_of(answer)))
    assert abs(info.frames - 1.2 * info.samplerate) <= 256
    both = server.predict(speaker=speaker, source_audio=source, text="Hello.", **QUICK)
    assert both["status"] == "failed" and "text and source_audio are given" in both["error"]
    path = server.predict(speaker=speaker, source_audio="/etc/passwd", **QUICK)
    assert path["status"] == "failed" and "source_audio is not a file" in path["error"]
