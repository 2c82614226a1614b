"""A model in the published layout, served, fetched, converted and loaded, says the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fetching.manifest import MANIFEST, load_manifest
from pipeline.audio import write_wav
from pipeline.checkpoints import CHECKPOINTS
from pipeline.deterministic import tone
from pipeline.loading import converted_path
from service.request import Request
from service.service import Service
from service.settings import Settings
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
    for entry in load_manifest().entries("indextts2", ["core"]):
        path = mini_directory / entry.path
        if path.is_file():
            hub.hub_files[f"{entry.repository}/{entry.file}"] = path.read_bytes()
        elif entry.path.endswith(".json"):  # published, but not needed by a mini model
            hub.hub_files[f"{entry.repository}/{entry.file}"] = b"{}"
        hub.repositories.add(entry.repository)
    directory = ensure(
        "indextts2", ["core"], tmp_path / "weights", manifest=MANIFEST, lock=tmp_path / "no-lock.json"
    )
    for checkpoint in CHECKPOINTS.values():
        path = directory / checkpoint.file
        assert converted_path(path).is_file()
        if path != converted_path(path):
            path.unlink()  # so that nothing but the copies can be read
    assert spoken(directory, tmp_path) == said_directly
