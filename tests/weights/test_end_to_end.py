"""A model in the published layout, served, fetched, converted and loaded, says the same bytes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch
import yaml

from fetching.manifest import MANIFEST, load_manifest
from pipeline.audio import write_wav
from pipeline.checkpoints import LAYOUTS
from pipeline.config import load_config
from pipeline.deterministic import tone, write_model
from pipeline.loading import converted_path
from pipeline.text.multilingual import language_row
from pipeline.voice_file import VoiceFileError, read_voice, write_voice
from service.reference import ReferenceOptions
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import VOCABULARY_25
from tests.service.server import CogServer, data_uri
from tests.weights.server import Server
from weights import ensure

RATE, SECONDS = 24000, 3.0


def spoken(directory: Path, folder: Path) -> bytes:
    """What the model in `directory` says: the bytes of the WAV file."""
    clip = folder / "reference.wav"
    write_wav(clip, tone("end to end", SECONDS, RATE)[0], RATE)
    service = Service(Settings.read(model=str(directory)))
    request = Request(text="Hello there.", speaker=clip, max_mel_tokens=50, diffusion_steps=2, seed=5)
    return service.run(request, folder).path.read_bytes()


@pytest.fixture(scope="module")
def said_directly(mini_directory, tmp_path_factory) -> bytes:
    return spoken(mini_directory, tmp_path_factory.mktemp("direct"))


def test_fetched_and_converted_model_says_the_same_bytes(
    hub: Server, mini_directory, said_directly, tmp_path
):
    directory = fetched("indextts2", hub, mini_directory, tmp_path)
    assert spoken(directory, tmp_path) == said_directly


def fetched(model: str, hub: Server, published: Path, folder: Path) -> Path:
    """The files of `published`, served as the repositories of `model`, fetched, verified and converted."""
    for entry in load_manifest().entries(model, ["core"]):
        path = published / entry.path
        if path.is_file():
            hub.hub_files[f"{entry.repository}/{entry.file}"] = path.read_bytes()
        elif entry.path.endswith(".json"):  # published, but not needed by a mini model
            hub.hub_files[f"{entry.repository}/{entry.file}"] = b"{}"
        hub.repositories.add(entry.repository)
    directory = ensure(model, ["core"], folder / "weights", manifest=MANIFEST, lock=folder / "no-lock.json")
    for checkpoint in LAYOUTS[load_config(model).layout].values():
        path = directory / checkpoint.file
        assert converted_path(path).is_file()
        if path != converted_path(path):
            path.unlink()  # so that nothing but the copies can be read
    return directory


@pytest.fixture
def published_25(tmp_path) -> Path:
    """A mini IndexTTS-2.5 as it is published: with the parts that are not used, and what its configuration has of
    IndexTTS-2."""
    config = load_config("mini25")
    directory = write_model(tmp_path / "published", config, VOCABULARY_25)
    for file, change in (
        ("s2mel.pth", lambda content: content["net"].update(gpt_layer={"0.weight": torch.zeros(4, 4)})),
        ("gpt.pth", lambda content: content["model"].update({"text_head.bias": torch.zeros(2474)})),
        ("codec.pth", lambda content: content.update(step=7)),
    ):
        content = torch.load(directory / file, weights_only=True)
        change(content)
        torch.save(content, directory / file)
    values = yaml.safe_load((directory / "config.yaml").read_text())
    values["gpt"]["condition_module"] = values["gpt"]["emo_condition_module"] | {"num_blocks": 6}
    (directory / "config.yaml").write_text(
        yaml.safe_dump(values | {"version": 2.0, "gpt_checkpoint": "/x/gpt.pth"})
    )
    return directory


TEXTS = {
    "zh": "你好，<行|XING2>人，今天3月14日。",
    "en": "Hello, <minute|M AY0 N UW1 T> at 8:30.",
    "ja": "こんにちは、<上手|じょうず>な3人。",
    "es": "¡Hola! Son 25 perros.",
    "ar": "مرحبا، الساعة 8:30.",
}


def test_indextts25_is_fetched_and_served_in_five_languages(hub, published_25, mini_model, tmp_path):
    directory = fetched("indextts2.5", hub, published_25, tmp_path)
    clip = tmp_path / "reference.wav"
    write_wav(clip, tone("end to end", SECONDS, RATE)[0], RATE)
    quick = {"max_mel_tokens": 50, "diffusion_steps": 1, "num_beams": 1, "seed": 5}

    service = Service(Settings.read(model=str(directory)))
    assert service.model.config.layout == "2.5" and service.model.latent_projection is None
    spoken = {}
    for language, text in TEXTS.items():
        request = Request(text=text, speaker=clip, language="auto", **quick)
        assert {part.language_row for part in service.prepare(request).script} == {language_row(language)}
        spoken[language] = service.run(request, tmp_path).path.read_bytes()
    assert len(set(spoken.values())) == len(TEXTS)
    half = service.run(Request(text=TEXTS["en"], speaker=clip, speed=2.0, **quick), tmp_path)
    whole = service.run(Request(text=TEXTS["en"], speaker=clip, speed=0.5, **quick), tmp_path)
    assert half.metrics["codes"] == whole.metrics["codes"]
    assert whole.metrics["audio_seconds"] == pytest.approx(4 * half.metrics["audio_seconds"], rel=0.05)

    voice = tmp_path / "v.voice.safetensors"
    reference = service.references.speaker(clip, ReferenceOptions())
    write_voice(voice, reference.voice, service.model, reference.source_sha256, "")
    with pytest.raises(VoiceFileError, match=r"made with model 'weights' \(.*\); this is 'mini'"):
        read_voice(voice, mini_model)

    environment = {"INDEXTTS_MODEL": str(directory)}
    with CogServer(tmp_path / "server", "--stream", **environment) as server:
        for speaker, language in [(clip, "zh"), *((voice, language) for language in ("ja", "es", "ar"))]:
            sent = data_uri(speaker.read_bytes())
            answer = server.predict(text=TEXTS[language], speaker=sent, language=language, **quick)
            assert answer["status"] == "succeeded", answer
            assert (
                b"".join(base64.b64decode(uri.split(",", 1)[1]) for uri in answer["output"])
                == spoken[language]
            )
        noted = server.predict(text="a <minute|xyz> later", speaker=sent, **quick)
        assert noted["status"] == "succeeded", noted
