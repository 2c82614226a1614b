"""Several speakers of one request: a ZIP file of voices, and who of them says what."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from enhance.audio_input.limits import AudioLimits
from pipeline.text.markup import check_voice_name
from service.request import Request

ZIP_START = b"PK\x03\x04"
MAX_VOICES = 32
MAX_VOICE_BYTES = AudioLimits().max_bytes


def is_zip(path: Path) -> bool:
    """By content: what a file is called says nothing."""
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START


@contextlib.contextmanager
def cast_of(request: Request) -> Iterator[Request]:
    """`request` with a ZIP file as `speaker` taken apart for as long as it is needed: its first voice speaks what no
    markup says otherwise, and all are in `voices`.

    Raises ValueError, in one line, for a file that is damaged, too large, empty, or has names that cannot be used."""
    if not is_zip(request.speaker):
        yield request
        return
    with tempfile.TemporaryDirectory(prefix="indextts-cast-") as folder:
        try:
            with zipfile.ZipFile(request.speaker) as archive:
                voices = unpack(archive, Path(folder))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as e:
            raise ValueError(f"the ZIP file of voices cannot be read: {str(e)[:80]}") from e
        yield dataclasses.replace(
            request, speaker=next(iter(voices.values())), voices={**voices, **(request.voices or {})}
        )


def unpack(archive: zipfile.ZipFile, folder: Path) -> dict[str, Path]:
    """The voices of an archive by their files' names without suffix, in its order."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and not is_clutter(entry.filename)]
    if not 1 <= len(entries) <= MAX_VOICES:
        raise ValueError(f"the ZIP file holds {len(entries)} voices; allowed: 1 to {MAX_VOICES} files")
    voices: dict[str, Path] = {}
    for number, entry in enumerate(entries):
        name = check_voice_name(PurePosixPath(entry.filename).name.partition(".")[0])
        if name in voices:
            raise ValueError(f"the ZIP file holds voice '{name}' twice")
        if entry.file_size > MAX_VOICE_BYTES:
            raise ValueError(
                f"voice '{name}' has {entry.file_size:,} bytes; allowed: at most {MAX_VOICE_BYTES:,}"
            )
        voices[name] = folder / str(number)
        # The reader stops at the size that the header says, whatever the data would unfold to.
        with archive.open(entry) as packed, voices[name].open("wb") as file:
            shutil.copyfileobj(packed, file)
    return voices


def is_clutter(name: str) -> bool:
    """What archivers add of their own."""
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts


def speaker_of(request: Request, name: str | None) -> Path:
    """The file of a voice; None: of the one that speaks where no markup says otherwise. Raises ValueError."""
    if name is None:
        return request.speaker
    voices = request.voices or {}
    if name not in voices:
        allowed = f"allowed: {', '.join(sorted(voices))}" if voices else "give the voices as a ZIP file"
        raise ValueError(f"the text asks for voice '{name}'; {allowed[:200]}")
    return voices[name]


def emotion_of(request: Request, emotion: str | None) -> Request:
    """`request` with the emotion that a turn asks for in place of its own: weights (`happy=0.6`, numbers) or words."""
    if emotion is None:
        return request
    weights = "=" in emotion or emotion[0] in "0123456789."
    return dataclasses.replace(
        request,
        emotion_audio=None,
        emotion_vector=emotion if weights else None,
        emotion_text=None if weights else emotion,
        emotion_from_text=False,
    )
