"""A small data set of the examples' clips, and tiny-en as it is trained: with plain modules."""

import zipfile
from pathlib import Path

import pytest
import soundfile
import torch

from service.service import Service
from service.settings import Settings
from tests.conftest import ROOT

VOICES = ("speaker.wav", "george.flac", "isabella.flac")
PIECE_SECONDS = 1.25


@pytest.fixture(scope="session")
def service() -> Service:
    return Service(Settings.read(model="tiny-en", precision="exact", features=()), packed=False)


@pytest.fixture(scope="session")
def pieces(tmp_path_factory) -> list[Path]:
    """Two short ones of each of the examples."""
    folder = tmp_path_factory.mktemp("pieces")
    paths = []
    for name in VOICES:
        samples, rate = soundfile.read(ROOT / "examples" / name, dtype="float32")
        length = int(PIECE_SECONDS * rate)
        for index in range(2):
            paths.append(folder / f"{Path(name).stem}-{index}.wav")
            soundfile.write(paths[-1], samples[index * length : (index + 1) * length], rate)
    return paths


@pytest.fixture(scope="session")
def archive(pieces, tmp_path_factory) -> Path:
    """An LJSpeech data set of them. The texts are of about the clips' length; what they say is not what is said."""
    path = tmp_path_factory.mktemp("archive") / "dataset.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for piece in pieces:
            packed.write(piece, f"corpus/wavs/{piece.name}")
        told = "\n".join(f"{piece.stem}|A gentle wind moved it.|A gentle wind moved it." for piece in pieces)
        packed.writestr("corpus/metadata.csv", told)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
