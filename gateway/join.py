"""Rows of a batch as chapters: one audio file and its subtitles each, and the whole as a book with chapter marks."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from pipeline.audio import resample, write_wav
from pipeline.child_environment import child_environment
from service.audio_output.encode import FORMATS as AUDIO_FORMATS
from service.audio_output.encode import OutputError, encode
from service.receipt import SegmentReceipt, to_srt

FORMATS = (*AUDIO_FORMATS, "m4b")  # m4b: chapters as flac, the book as m4b
BOOK_FORMAT = {"f": "mp4", "c:a": "aac", "b:a": "96k"}
TITLE_SIGNS = 40
SECONDS = 600.0


def join(folder: Path, lines: Iterable[dict[str, object]], format: str, gap_seconds: float) -> Iterator[Path]:
    """The files made: chapters in the order of the table, each with an .srt, then the book.

    Raises ValueError where a row is missing: a chapter with a hole is none."""
    chapters: dict[str, list[dict[str, object]]] = {}
    for line in sorted(lines, key=lambda line: line["index"]):
        if line["status"] != "done":
            raise ValueError(
                f"row {line['index']} is missing ({line.get('error')}); the chapters are not joined"
            )
        chapters.setdefault(line["chapter"] or "all", []).append(line)
    waves, rate = [], 0
    for number, (title, rows) in enumerate(chapters.items(), 1):
        wave, segments, rate = chapter(folder, rows, gap_seconds, rate)
        stem = folder / f"{number:02d}-{plain(title)}"
        audio = encode(wave, rate, stem, format="flac" if format == "m4b" else format)
        stem.with_suffix(".srt").write_text(to_srt(segments), encoding="utf-8")
        waves.append((title, wave))
        yield audio.path
        yield stem.with_suffix(".srt")
    if waves:
        yield book(folder / "book.m4b", waves, rate)


def chapter(
    folder: Path, rows: list[dict[str, object]], gap_seconds: float, rate: int
) -> tuple[Tensor, list[SegmentReceipt], int]:
    """(wave [T], segments with their times in it, rate); rate 0: the first row's."""
    parts: list[Tensor] = []
    segments: list[SegmentReceipt] = []
    position = 0
    for row in rows:
        samples, own = soundfile.read(folder / row["file"], dtype="float32")
        rate = rate or own
        wave = resample(torch.from_numpy(samples), own, rate)
        for told in json.loads((folder / f"{row['name']}.json").read_text(encoding="utf-8"))["segments"]:
            start, end = (position / rate + told[edge] for edge in ("start", "end"))
            segments.append(
                SegmentReceipt(len(segments), told["text"], start, end, 0, 0, (), told["written"])
            )
        gap = gap_seconds if row.get("gap") is None else float(row["gap"])
        silence = torch.zeros(round(gap * rate))
        parts += [wave, silence]
        position += len(wave) + len(silence)
    return torch.cat(parts), segments, rate


def plain(title: str) -> str:
    """A title as a part of a file's name."""
    return re.sub(r"[^\w-]+", "-", title).strip("-")[:TITLE_SIGNS] or "chapter"


def book(path: Path, chapters: list[tuple[str, Tensor]], rate: int) -> Path:
    """All chapters in one file that knows where each begins. Raises OutputError."""
    marks, position = [";FFMETADATA1"], 0
    for title, wave in chapters:
        start, position = position, position + len(wave)
        name = re.sub(r"([=;#\\\n])", r"\\\1", title)
        marks += ["[CHAPTER]", f"TIMEBASE=1/{rate}", f"START={start}", f"END={position}", f"title={name}"]
    with tempfile.TemporaryDirectory(prefix="indextts-book-") as temporary:
        wave, meta = Path(temporary) / "book.wav", Path(temporary) / "marks"
        write_wav(wave, torch.cat([wave for _, wave in chapters]), rate)
        meta.write_text("\n".join(marks) + "\n", encoding="utf-8")
        options = [text for name, value in BOOK_FORMAT.items() for text in (f"-{name}", str(value))]
        command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", "-i", str(wave), "-f", "ffmetadata"]
        command += [
            "-i",
            str(meta),
            "-map",
            "0",
            "-map_metadata",
            "1",
            "-map_chapters",
            "1",
            *options,
            f"file:{path}",
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=child_environment())
        except (FileNotFoundError, subprocess.TimeoutExpired) as e:
            raise OutputError(
                f"the book needs ffmpeg, which is missing or took longer than {SECONDS:g} s"
            ) from e
        if done.returncode:
            raise OutputError(
                f"the book could not be made: {done.stderr.decode(errors='replace').strip()[-120:]}"
            )
    return path
