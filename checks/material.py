"""What voices are judged with: two sets of sentences, and clips of voices no model here was trained on.

Four references are Kokoro's (checks/references, Apache-2.0). Two are human recordings of Debian packages, fetched
when they are needed and not part of this repository: a LibriVox reader (pocketsphinx-testdata), and the voice of
Asterisk's announcements (asterisk-core-sounds-en-g722, CC-BY-SA-3.0).
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SETS = ("plain", "harder")
COMMAND_SECONDS = 300
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sentence:
    """set: of SETS; number: within it, from 0, and the seed it is spoken with."""

    set: str
    number: int
    text: str


@dataclass(frozen=True)
class Reference:
    """A clip of one voice; teacher: whether Kokoro speaks in it under this name."""

    name: str
    path: Path
    teacher: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Recording:
    """The first `seconds` of a file of a Debian package; format: ffmpeg's, where the file does not say."""

    name: str
    package: str
    file: str
    seconds: float
    format: str | None = None


RECORDINGS = (
    Recording(
        "librivox",
        "pocketsphinx-testdata",
        "usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
        7.1,
    ),
    Recording(
        "allison",
        "asterisk-core-sounds-en-g722",
        "usr/share/asterisk/sounds/en_US_f_Allison/demo-congrats.g722",
        6.4,
        "g722",
    ),
)


def sentences(per_set: int | None = None) -> list[Sentence]:
    """The sentences of both sets, or the first `per_set` of each."""
    found = []
    for name in SETS:
        lines = (HERE / "sentences" / f"{name}.txt").read_text("utf-8").splitlines()
        texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        found += [Sentence(name, number, text) for number, text in enumerate(texts[:per_set])]
    return found


def teacher_references() -> list[Reference]:
    """The clips that ship with this repository."""
    return [Reference(path.stem, path, True) for path in sorted((HERE / "references").glob("*.flac"))]


def human_references(folder: Path) -> list[Reference]:
    """The human clips as WAV files in `folder`, fetched with apt at the first call; one that cannot be had is left
    out and named in the log."""
    found = []
    for recording in RECORDINGS:
        path = folder / f"{recording.name}.wav"
        try:
            if not path.is_file():
                fetch(recording, path)
            found.append(Reference(recording.name, path, False))
        except (OSError, subprocess.SubprocessError) as e:
            logger.warning(
                "no human reference %s (Debian package %s): %s", recording.name, recording.package, e
            )
    return found


def fetch(recording: Recording, path: Path) -> None:
    """Download the package, without installing it, and cut the clip out of it. OSError or SubprocessError."""
    folder = path.parent / recording.package
    folder.mkdir(parents=True, exist_ok=True)

    def run(*command: str) -> None:
        try:
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS
            )
        except subprocess.CalledProcessError as e:
            raise OSError(f"{command[0]}: {' '.join(e.stderr.split())[-200:]}") from e

    run("apt-get", "download", recording.package)
    archive = max(folder.glob("*.deb"), key=lambda file: file.stat().st_mtime)
    run("dpkg", "-x", archive.name, "content")
    kind = ["-f", recording.format] if recording.format else []
    partial = path.with_suffix(".partial.wav").resolve()
    source = f"content/{recording.file}"
    run("ffmpeg", "-v", "error", "-y", *kind, "-i", source, "-t", str(recording.seconds), str(partial))
    partial.replace(path)
