"""The voice library: a folder per voice, on disk or wherever fsspec reaches.

NAME/voice.json is written last and says all there is; NAME/clip-HASH is the clip, or a voice file, NAME/adapter an
adapter. The clips of `examples/` are in every library and stay.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

from gateway.problem import Problem
from pipeline.text.markup import check_voice_name

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
RECORD = "voice.json"
MAX_BYTES = 25_000_000
MAX_ADAPTER_BYTES = 100_000_000
MAX_TEXT = 2000  # characters of notes and consent
MAX_VOICES = 10_000
HIDDEN = ("url", "sha256", "adapter_url")  # from clients
SYNTHETIC = "made by a speech synthesizer"


@dataclass(frozen=True)
class VoiceRecord:
    """A voice as the library knows it. url: of its file; report: what was measured of the clip; consent: the statement
    of who may use it, by whoever added it; created: seconds since 1970; adapter: sha256 of the one that is put beside
    the model when this voice speaks, at adapter_url, or empty."""

    name: str
    url: str
    sha256: str
    consent: str
    language: str = ""
    notes: str = ""
    created: int = 0
    builtin: bool = False
    report: dict[str, object] = field(default_factory=dict)
    adapter: str = ""
    adapter_url: str = ""

    def key(self) -> str:
        """Its content under its name: a voice that was replaced is another one."""
        return f"{self.name}/{self.sha256[:16]}{self.adapter[:16]}"

    def told(self) -> dict[str, object]:
        """What clients see of it."""
        values = dataclasses.asdict(self)
        return {"id": self.name, **{name: values[name] for name in values if name not in HIDDEN}}

    def read(self) -> bytes:
        """The content of its file. Raises Problem where it is gone or another."""
        return self._read("file", self.url, self.sha256)

    def read_adapter(self) -> bytes:
        """The content of its adapter; likewise."""
        return self._read("adapter", self.adapter_url, self.adapter)

    def _read(self, kind: str, url: str, sha256: str) -> bytes:
        try:
            with fsspec.open(url, "rb") as file:
                content = file.read()
        except OSError as e:
            raise Problem(503, f"the {kind} of voice '{self.name}' cannot be read") from e
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Problem(503, f"the {kind} of voice '{self.name}' is not the one that was added")
        return content


class Library:
    """The voices at a URL. Every method asks the storage: several gateways may share one."""

    def __init__(self, url: str):
        self.files, self.root = fsspec.core.url_to_fs(url)
        self.builtin = {
            record.name: record for record in map(example, sorted(EXAMPLES.glob("*.*"))) if record
        }

    def names(self) -> list[str]:
        found = []
        if self.files.isdir(self.root):
            found = [
                path.rstrip("/").rpartition("/")[2]
                for path in self.files.ls(self.root, detail=False, refresh=True)
            ]
        return sorted(
            {
                *self.builtin,
                *(name for name in found if is_name(name) and self.files.exists(self.place(name))),
            }
        )

    def get(self, name: object) -> VoiceRecord:
        """Raises Problem for a voice that is not there."""
        if isinstance(name, str) and name in self.builtin:
            return self.builtin[name]
        if is_name(name):
            try:
                return VoiceRecord(**json.loads(self.files.cat_file(self.place(name))))
            except FileNotFoundError:
                pass
            except (ValueError, TypeError) as e:
                raise Problem(500, f"the record of voice '{name}' is damaged") from e
        shown = ascii(str(name)[:40])
        raise Problem(
            404, f"the voice {shown} does not exist; allowed: {', '.join(self.names()[:50])}", param="voice",
            code="voice_not_found",
        )  # fmt: skip

    def all(self) -> list[VoiceRecord]:
        return [self.get(name) for name in self.names()]

    def check_new(
        self, name: object, consent: object, language: str, notes: str, size: int, adapter_size: int = 0
    ) -> str:
        """The name of a voice that may be added. Raises Problem."""
        try:
            check_voice_name(name)
        except ValueError as e:
            raise Problem(400, f"name: {e}", param="name", code="invalid_value") from e
        if not isinstance(consent, str) or not consent.strip():
            raise Problem(
                400, "consent is missing; say who has agreed that this voice is used", param="consent",
                code="missing_required_parameter",
            )  # fmt: skip
        for field_name, text in (("consent", consent), ("notes", notes), ("language", language)):
            if len(text) > MAX_TEXT:
                raise Problem(
                    400,
                    f"{field_name} has {len(text):,} characters; allowed: at most {MAX_TEXT:,}",
                    param=field_name,
                )
        if not 0 < size <= MAX_BYTES:
            raise Problem(
                400, f"audio_sample has {size:,} bytes; allowed: 1 to {MAX_BYTES:,}", param="audio_sample"
            )
        if adapter_size > MAX_ADAPTER_BYTES:
            message = f"adapter has {adapter_size:,} bytes; allowed: at most {MAX_ADAPTER_BYTES:,}"
            raise Problem(400, message, param="adapter")
        names = self.names()
        if name in names:
            raise Problem(
                409, f"the voice '{name}' exists; delete it first", param="name", code="voice_exists"
            )
        if len(names) >= MAX_VOICES:
            raise Problem(409, f"the library holds {MAX_VOICES:,} voices, the most allowed")
        return name

    def add(
        self,
        name: str,
        content: bytes,
        consent: str,
        language: str,
        notes: str,
        report: dict[str, object],
        adapter: bytes = b"",
    ) -> VoiceRecord:
        """Keep a voice that `check_new` allows. Raises Problem when it cannot be stored."""
        digest, adapter_digest = (
            hashlib.sha256(data).hexdigest() if data else "" for data in (content, adapter)
        )
        clip, adapter_path = f"{self.root}/{name}/clip-{digest[:16]}", f"{self.root}/{name}/adapter"
        record = VoiceRecord(
            name=name,
            url=self.files.unstrip_protocol(clip),
            sha256=digest,
            consent=consent.strip(),
            language=language.strip(),
            notes=notes.strip(),
            created=int(time.time()),
            report=report,
            adapter=adapter_digest,
            adapter_url=self.files.unstrip_protocol(adapter_path) if adapter else "",
        )
        try:
            self.files.makedirs(f"{self.root}/{name}", exist_ok=True)
            self.files.pipe_file(clip, content)
            if adapter:
                self.files.pipe_file(adapter_path, adapter)
            self.files.pipe_file(self.place(name), json.dumps(dataclasses.asdict(record), indent=1).encode())
        except OSError as e:
            raise Problem(507, f"the voice cannot be stored: {e.strerror or 'the storage refuses it'}") from e
        return record

    def delete(self, name: str) -> None:
        if self.get(name).builtin:
            raise Problem(403, f"the voice '{name}' comes with the project and stays", param="voice")
        self.files.rm(f"{self.root}/{name}", recursive=True)

    def place(self, name: str) -> str:
        return f"{self.root}/{name}/{RECORD}"


def check_adapters(speaker: VoiceRecord | None, others: Iterable[VoiceRecord]) -> None:
    """Raises Problem for a script of several voices one of which has another adapter: a request has one model."""
    own = speaker.adapter if speaker else ""
    for record in others:
        if record.adapter not in ("", own):
            raise Problem(
                400, f"the voice '{record.name}' has an adapter of its own; give it as the request's voice",
                param="input", code="invalid_value",
            )  # fmt: skip


def is_name(name: object) -> bool:
    try:
        return bool(check_voice_name(name))
    except ValueError:
        return False


def example(path: Path) -> VoiceRecord | None:
    """The record of a clip in `examples/`."""
    if path.suffix not in (".wav", ".flac"):
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return VoiceRecord(path.stem, f"file://{path}", digest, SYNTHETIC, "en", "an example", builtin=True)
