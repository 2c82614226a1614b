"""What an unpacked data set holds: recordings, with their texts where there are some.

Known forms: LJSpeech (`metadata.csv`), Kaldi (`wav.scp`, `text`), a JSONL manifest, and `NAME.txt` or `NAME.lab` beside
`NAME.wav`; else every audio file is a recording without a text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

AUDIO = {
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".webm", ".aiff", ".aif", ".au"),
    *(".caf", ".amr", ".aac", ".g722"),
}
LJSPEECH, KALDI_WAVES, KALDI_TEXTS = "metadata.csv", "wav.scp", "text"
BESIDE = (".txt", ".lab")
LJSPEECH_FOLDERS = ("wavs", "wav", "")
MAX_LIST_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 100_000


@dataclass(frozen=True)
class Recording:
    """A file of the data set, its name there, and what is said in it if that is known."""

    path: Path
    name: str
    text: str | None


@dataclass(frozen=True)
class Dataset:
    """form: how it was told; problems: lines that could not be used and why."""

    form: str
    recordings: list[Recording]
    problems: list[str]


def read_dataset(folder: Path) -> Dataset:
    """The recordings under `folder`, by name. Raises ValueError when there are none."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if is_file(path)}
    lists = {name: path for name, path in files.items() if path.name == LJSPEECH}
    scripts = {name: path for name, path in files.items() if path.name == KALDI_WAVES}
    manifests = {name: path for name, path in files.items() if path.suffix == ".jsonl"}
    if lists:
        found = collect("LJSpeech", files, (entry for path in lists.values() for entry in ljspeech(path)))
    elif scripts:
        found = collect("Kaldi", files, (entry for path in scripts.values() for entry in kaldi(path)))
    elif manifests:
        found = collect("JSONL", files, (entry for path in manifests.values() for entry in jsonl(path)))
    else:
        found = beside(files)
    if not found.recordings:
        told = f"; {found.problems[0]}" if found.problems else ""
        raise ValueError(f"the dataset holds no audio files ({len(files)} files, form: {found.form}{told})")
    return found


def is_file(path: Path) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts[-2:])
    return not path.is_symlink() and path.is_file() and not hidden


Entry = tuple[Path, list[str], str | None] | str  # folder of the list, names to try, text; or a problem


def collect(form: str, files: dict[str, Path], entries: Iterable[Entry]) -> Dataset:
    """The recordings that a list names; a name leads to a file of the data set or nowhere."""
    known = {path.resolve(): name for name, path in files.items()}
    recordings, problems, seen = [], [], set()
    for entry in entries:
        if isinstance(entry, str):
            problems.append(entry)
            continue
        folder, names, text = entry
        tried = [(folder / name).resolve() for name in names]
        path = next((path for path in tried if path in known), None)
        if path is None:
            problems.append(f"{names[0][:80]}: is listed, but not in the data set")
        elif path in seen:
            problems.append(f"{names[0][:80]}: is listed twice")
        else:
            seen.add(path)
            recordings.append(Recording(path, known[path], text))
    return Dataset(form, recordings, problems)


def ljspeech(path: Path) -> Iterable[Entry]:
    """`ID|text|normalized text` a line, audio in `wavs/`."""
    for number, line in lines(path):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 2 or not fields[0]:
            yield f"{path.name}, line {number}: not ID|text"
            continue
        name = fields[0]
        suffixes = [""] if Path(name).suffix.lower() in AUDIO else sorted(AUDIO)
        names = [
            f"{folder}/{name}{suffix}" if folder else f"{name}{suffix}"
            for suffix in suffixes
            for folder in LJSPEECH_FOLDERS
        ]
        yield path.parent, names, fields[-1] or fields[1] or None


def kaldi(path: Path) -> Iterable[Entry]:
    """`ID path` a line, and `ID text` a line in `text` beside it. A path that is a command is refused."""
    texts_path = path.with_name(KALDI_TEXTS)
    texts = dict(pair(line) for _, line in lines(texts_path)) if texts_path.is_file() else {}
    for number, line in lines(path):
        key, where = pair(line)
        if not where:
            yield f"{path.name}, line {number}: not ID and path"
        elif where.endswith("|") or where.startswith("|"):
            yield f"{path.name}, line {number}: is a command, which is not run"
        else:
            yield path.parent, [where, Path(where).name, f"wavs/{Path(where).name}"], texts.get(key) or None


def jsonl(path: Path) -> Iterable[Entry]:
    """`{"audio": "a.wav", "text": "…"}` a line; `audio_filepath`, `path` or `wav` for audio."""
    for number, line in lines(path):
        try:
            record = json.loads(line)
            audio = next(record[key] for key in ("audio", "audio_filepath", "path", "wav") if key in record)
            text = record.get("text")
            if not isinstance(audio, str) or not isinstance(text, str | None):
                raise TypeError("audio and text must be texts")
        except (ValueError, TypeError, AttributeError, StopIteration, RecursionError) as e:
            yield f"{path.name}, line {number}: not a manifest line ({type(e).__name__})"
            continue
        yield path.parent, [audio], (text or "").strip() or None


def beside(files: dict[str, Path]) -> Dataset:
    """Every audio file, with the text in the file of its name beside it."""
    recordings, problems = [], []
    for name, path in files.items():
        if path.suffix.lower() not in AUDIO:
            continue
        text = None
        for suffix in BESIDE:
            told = path.with_suffix(suffix)
            if told in files.values():
                try:
                    text = read_text(told, MAX_TEXT_BYTES).strip() or None
                except ValueError as e:
                    problems.append(str(e))
        recordings.append(Recording(path, name, text))
    return Dataset("audio files with texts beside them", recordings, problems)


def lines(path: Path) -> Iterable[tuple[int, str]]:
    """Numbered lines that are not blank."""
    for number, line in enumerate(read_text(path, MAX_LIST_BYTES).splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def read_text(path: Path, most: int) -> str:
    """Raises ValueError for what is no UTF-8 text or too long."""
    if path.stat().st_size > most:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes; allowed: {most:,}")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"{path.name} is not UTF-8 text") from e


def pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" ")
    return key, value.strip()
