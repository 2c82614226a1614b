"""The embedded voice speaks: words a recognizer understands, in the voice it was given, at the pace it was
asked for."""

import itertools
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from checks.judges import judge_all
from checks.words import compare, word_error_rate
from service.catalog import embedded_directory
from service.request import Request
from service.service import Service
from service.settings import DEFAULT_MODEL, Settings
from tests.conftest import ROOT
from training import measure

VOICES = {"bella": "speaker.wav", "george": "george.flac", "isabella": "isabella.flac", "puck": "puck.flac"}
TEXTS = (
    "Please leave your umbrella by the door before you come in.",
    "Does anyone know where the nearest pharmacy is?",
)
SHORT = (
    "Please leave it by the door.",
    "Where is the nearest pharmacy?",
)  # of what is not judged by its words
PITCH_TOLERANCE = (
    0.45  # low voices come out too high; resampling to half or double the length would be off by more
)
MAX_WORD_ERROR_RATE = 0.3
MAX_MEGABYTES = 48


def example(voice: str) -> Path:
    return ROOT / "examples" / VOICES[voice]


@pytest.fixture(scope="module")
def service():
    return Service(Settings.read(model="tiny-en"))


def speak(service: Service, text: str, voice: str, **options) -> tuple[np.ndarray, int, dict]:
    """Wave [T], rate and metrics."""
    with tempfile.TemporaryDirectory() as folder:
        result = service.run(Request(text, example(voice), **({"seed": 0} | options)), Path(folder))
        return *soundfile.read(result.path, dtype="float32"), result.metrics


@pytest.fixture(scope="module")
def spoken(service) -> dict[tuple[str, str], tuple[np.ndarray, int, dict]]:
    """Every voice once, the short texts in turn."""
    return {
        (voice, text): speak(service, text, voice)
        for voice, text in zip(VOICES, itertools.cycle(SHORT), strict=False)
    }


def test_it_is_what_is_served_and_small():
    assert DEFAULT_MODEL == "tiny-en"
    assert (
        sum(path.stat().st_size for path in embedded_directory("tiny-en").rglob("*")) <= MAX_MEGABYTES * 1e6
    )


@pytest.mark.quality
def test_a_recognizer_understands_it(service, tmp_path):
    """Every text in every voice; script/quality measures more."""
    said = list(itertools.product(VOICES, TEXTS))
    paths = []
    for voice, text in said:
        paths.append(tmp_path / f"{voice}-{TEXTS.index(text)}.wav")
        wave, rate, _ = speak(service, text, voice)
        soundfile.write(paths[-1], wave, rate)
    heard = [judged["heard"] for judged in judge_all(paths)]
    rate = word_error_rate(compare(text, one) for (_, text), one in zip(said, heard, strict=True))
    assert rate <= MAX_WORD_ERROR_RATE, heard


def test_it_ends_by_itself(spoken):
    for metrics in (metrics for _, _, metrics in spoken.values()):
        assert not any("without an end of speech" in warning for warning in metrics["warnings"])


def test_the_pitch_follows_the_references(spoken):
    """Men below women, and none at the vocoder's frame rate (86 Hz), at which a poor vocoder hums."""
    pitch = {voice: measure.median_pitch(wave, rate) for (voice, _), (wave, rate, _) in spoken.items()}
    for voice, found in pitch.items():
        reference = measure.median_pitch(*soundfile.read(example(voice), dtype="float32"))
        assert found == pytest.approx(reference, rel=PITCH_TOLERANCE), voice
    assert max(pitch["george"], pitch["puck"]) < min(pitch["bella"], pitch["isabella"]), pitch


def test_a_speaker_is_closer_to_itself_than_to_others(service, spoken, tmp_path):
    """By style cosine, for references and for what is spoken in their voices: than to most of four."""

    def style(path: Path) -> torch.Tensor:
        return service.references.speaker(path, Request("a", path).reference_options()).voice.style[0]

    references = {voice: style(example(voice)) for voice in VOICES}
    for (voice, _), (wave, rate, _) in spoken.items():
        path = tmp_path / "made.wav"
        soundfile.write(path, wave, rate)
        made = style(path)
        cosines = {name: float(F.cosine_similarity(made, other, dim=0)) for name, other in references.items()}
        assert voice in sorted(cosines, key=cosines.get)[2:], cosines


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_speed_changes_the_length_and_not_the_pitch(service, spoken, speed):
    wave, rate, _ = spoken["bella", SHORT[0]]
    changed, _, metrics = speak(service, SHORT[0], "bella", speed=speed)
    assert len(changed) == pytest.approx(len(wave) / speed, rel=0.05)
    pitch = measure.median_pitch(wave, rate)
    assert measure.median_pitch(changed, rate) == pytest.approx(pitch, rel=PITCH_TOLERANCE)


def test_what_it_cannot_read_is_said(service):
    with pytest.raises(ValueError, match="vocabulary"):
        speak(service, "你好，世界。", "bella")


def test_a_word_it_cannot_read_is_a_warning(service):
    _, _, metrics = speak(service, "Hello 你好.", "bella")
    assert "segment 1: 1 of its tokens are not in the model's vocabulary" in metrics["warnings"]


def test_numbers_are_read_in_its_only_language(service, tmp_path):
    result = service.run(Request("7", example("bella"), receipt=True, seed=0), tmp_path)
    with zipfile.ZipFile(result.path) as archive:
        (segment,) = json.loads(archive.read("speech.json"))["segments"]
    assert segment["text"].lower() == "seven"
    with pytest.raises(ValueError, match="language is zh; the model tiny-en speaks en"):
        speak(service, "Hello.", "bella", language="zh")


def test_another_service_gives_the_same_samples(service, spoken):
    again = Service(Settings.read(model="tiny-en"))
    wave, _, metrics = speak(again, SHORT[0], "bella")
    assert (wave == spoken["bella", SHORT[0]][0]).all() and metrics[
        "fingerprint"
    ] == service.model.fingerprint
