"""Several speakers in one request: what is in the file of voices, and who says what."""

import json
import zipfile

import pytest
import soundfile
import torch

from pipeline.audio import write_wav
from pipeline.deterministic import tone
from service import cast
from service.cast import cast_of, emotion_of
from service.request import Request
from service.service import Service
from service.settings import Settings

QUICK = dict(max_mel_tokens=50, diffusion_steps=1, num_beams=1, seed=7)


@pytest.fixture(scope="module")
def service():
    return Service(Settings.read(model="mini"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips."""
    folder = tmp_path_factory.mktemp("clips")
    for name, rate in (("anna", 16000), ("ben", 22050)):
        write_wav(folder / f"{name}.wav", tone(name, 1.5, rate)[0], rate)
    return {name: folder / f"{name}.wav" for name in ("anna", "ben")}


def packed(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def both(clips, tmp_path):
    return packed(
        tmp_path / "voices",
        {
            "__MACOSX/._anna.wav": b"x",
            "people/": b"",
            **{f"people/{n}.wav": p.read_bytes() for n, p in clips.items()},
        },
    )


def run(service, request, folder):
    folder.mkdir()
    result = service.run(request, folder)
    with zipfile.ZipFile(result.path) as archive:
        archive.extractall(folder)
    return json.loads((folder / "speech.json").read_text()), soundfile.read(folder / "speech.wav")[0]


def test_everyone_speaks_as_they_do_alone(service, both, clips, tmp_path):
    text = "One. [voice:ben] Two. [voice:anna] Three."
    told, wave = run(service, Request(text, both, receipt=True, **QUICK), tmp_path / "all")
    assert [segment["voice"] for segment in told["segments"]] == [None, "ben", "anna"]
    for segment, name in zip(told["segments"], ("anna", "ben", "anna"), strict=True):
        own = QUICK | {"seed": segment["seed"]}
        alone = Request(segment["written"], clips[name], receipt=True, **own)
        told_alone, wave_alone = run(service, alone, tmp_path / f"alone-{segment['index']}")
        if not segment["warnings"] and not told_alone["warnings"]:
            start = round(segment["start"] * 22050)
            assert torch.allclose(
                torch.tensor(wave[start : start + len(wave_alone)]), torch.tensor(wave_alone), atol=2e-4
            )


def test_voices_can_be_given_by_name_and_as_turns(service, clips, tmp_path):
    turns = json.dumps(
        [{"voice": "ben", "text": "One."}, {"voice": "anna", "text": "Two.", "emotion": "sad=1"}]
    )
    request = Request(turns, clips["anna"], voices=clips, receipt=True, **QUICK)
    told, wave = run(service, request, tmp_path / "turns")
    assert [segment["voice"] for segment in told["segments"]] == ["ben", "anna"]
    plain = [{"voice": "ben", "text": "One."}, {"voice": "anna", "text": "Two."}]
    other = Request(json.dumps(plain), clips["anna"], voices=clips, receipt=True, **QUICK)
    calm = run(service, other, tmp_path / "calm")[1]
    assert calm.shape != wave.shape or (calm != wave).any()


def test_every_voice_comes_back_under_its_name(service, both, tmp_path):
    result = service.run(
        Request("[voice:ben]One.[voice:anna]Two.", both, return_voice=True, **QUICK), tmp_path
    )
    with zipfile.ZipFile(result.path) as archive:
        assert {"ben.voice.safetensors", "anna.voice.safetensors"} <= set(archive.namelist())


def test_a_turns_emotion_takes_the_place_of_the_requests_own():
    request = Request("x", "speaker", emotion_audio="clip", emotion_from_text=False)
    assert emotion_of(request, None) is request
    for said, field in (
        ("sad=1", "emotion_vector"),
        ("0,0,0,0,0,0,0,1", "emotion_vector"),
        ("a bit sad", "emotion_text"),
    ):
        changed = emotion_of(request, said)
        assert getattr(changed, field) == said and changed.emotion_audio is None
        assert sum(bool(value) for value in (changed.emotion_vector, changed.emotion_text)) == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_a_voice_that_is_not_there_is_refused(service, both, clips, tmp_path, zipped):
    message = "asks for voice 'carl'; " + (
        "allowed: anna, ben" if zipped else "give the voices as a ZIP file"
    )
    with pytest.raises(ValueError, match=message):
        service.run(Request("[voice:carl]One.", both if zipped else clips["anna"], **QUICK), tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds 0 voices"),
        ({".hidden": b"x"}, "holds 0 voices"),
        ({f"v{i}.wav": b"x" for i in range(33)}, "holds 33 voices"),
        ({"a.wav": b"x", "b/a.flac": b"x"}, "holds voice 'a' twice"),
        ({"an na.wav": b"x"}, "the voice name 'an na' is not allowed"),
        ({"a" * 1000 + ".wav": b"x"}, "the voice name 'aaaaaaaaaaaaaaaaaaaa...' is not allowed"),
    ],
)
def test_files_of_voices_that_cannot_be_used(tmp_path, files, message):
    path = packed(tmp_path / "voices", files)
    with pytest.raises(ValueError, match=message):
        # An archive without entries begins with its end: nothing that is taken for a ZIP file.
        path.write_bytes(path.read_bytes() if files else cast.ZIP_START + path.read_bytes())
        with cast_of(Request("x", path)):
            pass


def test_paths_of_an_archive_lead_nowhere_else(tmp_path, clips):
    path = packed(tmp_path / "voices", {"../../anna.wav": clips["anna"].read_bytes(), "/etc/ben.wav": b"x"})
    with cast_of(Request("x", path)) as request:
        assert set(request.voices) == {"anna", "ben"} and request.speaker == request.voices["anna"]
        assert len({voice.parent for voice in request.voices.values()}) == 1
        assert request.speaker.read_bytes() == clips["anna"].read_bytes()
        folder = request.speaker.parent
    assert not folder.exists()


def test_damage_and_bombs_are_refused(tmp_path, clips, monkeypatch):
    whole = packed(tmp_path / "voices", {"anna.wav": clips["anna"].read_bytes()}).read_bytes()
    for name, content in (
        ("cut", whole[:-40]),
        ("bits", whole[:100] + b"\xff" * 50 + whole[150:]),
        ("head", b"PK\3\4"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with (
            pytest.raises(ValueError, match="the ZIP file of voices cannot be read"),
            cast_of(Request("x", path)),
        ):
            pass
    monkeypatch.setattr(cast, "MAX_VOICE_BYTES", 100)
    message = "voice 'anna' has .* bytes; allowed: at most 100"
    with pytest.raises(ValueError, match=message), cast_of(Request("x", tmp_path / "voices")):
        pass
