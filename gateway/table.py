"""Rows of bulk synthesis: read from JSON lines, CSV or Parquet, each held to the service's checks and named by its
content."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.problem import Problem
from gateway.speaker import Order
from gateway.voices import Library, VoiceRecord, check_adapters
from pipeline.text.markup import Turn, split_markup
from pipeline.text.prepare import check_text
from pipeline.text.turns import as_markup
from service.fields import checks_of, from_text
from service.request import Request

SUFFIXES = (".jsonl", ".csv", ".parquet")
FILES = ("speaker", "emotion_audio", "source_audio", "adapter")
OWN = ("voice", "chapter", "gap")  # voice: of the library; chapter, gap: for --join
NOT_HERE = {"voices", "return_voice", "receipt", "subtitles", "quick_start_tokens"}
FIELDS = frozenset(field.name for field in dataclasses.fields(Request)) - NOT_HERE
MAX_GAP = 60.0  # seconds of silence after a row
NAME_DIGITS = 32


class RowError(ValueError):
    """A row that cannot be spoken: one line that says why."""


@dataclass(frozen=True)
class Row:
    """A row as it is to be spoken. index: its place in the table; name: of its file, without suffix, the hash
    of all that makes its audio; chapter, gap: what joins it to the others."""

    index: int
    name: str
    order: Order
    chapter: str
    gap: float | None

    @property
    def file(self) -> str:
        return f"{self.name}.{self.order.inputs['output_format']}"

    def sort_key(self) -> tuple[str, int]:
        """Rows of a voice together, and those of a length."""
        return self.order.affinity(), len(self.order.inputs["text"] or "")


def read_rows(path: Path) -> Iterator[dict[str, object] | RowError]:
    """The rows of a table, without what is empty; a line that is none in its place.

    Raises ValueError for a file that cannot be read at all."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"the table is '{path.name}'; allowed: a name that ends in {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                yield from (json_row(line) for line in file if line.strip())
        elif path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from (text_row(row) for row in csv.DictReader(file))
        else:
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from (present(row) for row in batch.to_pylist())
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise ValueError(f"the table '{path.name}' cannot be read: {str(e)[:100]}") from e


def json_row(line: str) -> dict[str, object] | RowError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        return RowError(f"the line is not JSON: {str(e)[:60]}")
    return present(row) if isinstance(row, dict) else RowError("the line is not a JSON object")


def text_row(row: Mapping[str | None, str]) -> dict[str, object] | RowError:
    if None in row:
        return RowError("the row has more cells than the table has columns")
    checked = checks_of(Request)
    try:
        return {
            name: from_text(Request, name, value) if name in checked else value
            for name, value in row.items()
            if value and value.strip()
        }
    except ValueError as e:
        return RowError(str(e))


def present(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if value is not None}


class Reader:
    """Makes rows of what a table says. salt: what else the audio depends on (the model's fingerprint)."""

    def __init__(self, library: Library, folder: Path, salt: str, defaults: Mapping[str, object]):
        self.library, self.folder, self.salt, self.defaults = library, folder, salt, defaults
        self.contents: dict[Path, bytes] = {}

    def row(self, index: int, values: Mapping[str, object]) -> Row:
        """Raises RowError."""
        values = {**self.defaults, **values}
        if unknown := sorted(set(map(str, values)) - FIELDS - set(OWN)):
            raise RowError(f"unknown column {unknown[0][:40]!r}")
        chapter, gap = values.get("chapter", ""), values.get("gap")
        try:
            if gap is not None and not 0 <= float(gap) <= MAX_GAP:
                raise RowError(f"gap is {gap}; allowed: 0 to {MAX_GAP:g} s")
            order = self.order({name: value for name, value in values.items() if name in (*FIELDS, "voice")})
        except (ValueError, TypeError) as e:
            raise RowError(" ".join(str(e).split())) from e
        except Problem as e:
            raise RowError(e.message) from e
        return Row(index, self.name(order), order, str(chapter), None if gap is None else float(gap))

    def order(self, values: dict[str, object]) -> Order:
        voice, speaker = values.pop("voice", None), values.pop("speaker", None)
        files = {name: self.content(values.pop(name), name) for name in FILES[1:] if name in values}
        if (voice is None) == (speaker is None):
            raise RowError("give a voice of the library or a speaker file, one of them")
        source = self.library.get(voice) if voice is not None else self.content(speaker, "speaker")
        text = values.pop("text", None)
        if "source_audio" not in files:
            if text is None:
                raise RowError("text is missing")
            check_text(text)
        request = Request(text, Path("speaker"), **dict.fromkeys(files, Path("x")), **values)
        if request.seed is None:
            request = dataclasses.replace(request, seed=0)
        request = request.checked()
        parts = split_markup(as_markup(text)) if text is not None else []
        voices = {part.voice: self.library.get(part.voice) for part in parts if isinstance(part, Turn)}
        inputs = {
            field.name: getattr(request, field.name)
            for field in dataclasses.fields(request)
            if field.name not in ("voices", *FILES)
        }
        check_adapters(source if isinstance(source, VoiceRecord) else None, voices.values())
        return Order(inputs, source, files, voices, whole=True, packed=True)

    def content(self, name: object, field: str) -> bytes:
        """A file beside the table; each is read once."""
        path = self.folder / str(name)
        if path not in self.contents:
            if not path.is_file():
                raise RowError(f"{field} is '{str(name)[:80]}'; there is no such file")
            self.contents[path] = path.read_bytes()
        return self.contents[path]

    def name(self, order: Order) -> str:
        """The same content and settings have the same name, whatever files and voices are called."""
        told = {
            "inputs": dict(order.inputs),
            "speaker": hashlib.sha256(order.speaker).hexdigest()
            if isinstance(order.speaker, bytes)
            else order.speaker.sha256,
            "adapter": order.speaker.adapter if isinstance(order.speaker, VoiceRecord) else "",
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in order.files.items()},
            "voices": {name: record.sha256 for name, record in order.voices.items()},
            "model": self.salt,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:NAME_DIGITS]
