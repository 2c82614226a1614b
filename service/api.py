"""A model in your own process: `load` one, `say` something in a voice, `save` it."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from service.request import Request
from service.service import Service
from service.settings import Settings

# Inputs that shape a whole file: a stream has none.
WHOLE_FILE = {"output_format", "sample_rate", "loudness", "return_voice", "receipt", "subtitles"}
FILES = ("speaker", "emotion_audio", "source_audio", "adapter")
INPUTS = tuple(field.name for field in dataclasses.fields(Request))


@dataclass(frozen=True)
class Speech:
    """content: a file (audio, or a ZIP file where more than audio was asked for); suffix: its kind, `.wav`;
    metrics: seed, timing, warnings and what else a prediction reports; empty for a part of a stream."""

    content: bytes = dataclasses.field(repr=False)
    suffix: str
    metrics: Mapping[str, object]

    def save(self, path: str | Path) -> Path:
        """Write the file. Raises ValueError when `path` has another format's suffix: nothing is converted."""
        path = Path(path)
        if path.suffix != self.suffix:
            raise ValueError(f"this is a {self.suffix} file, '{path}' is not; ask for it by output_format")
        path.write_bytes(self.content)
        return path

    def samples(self) -> tuple[np.ndarray, int]:
        """The audio as float32 [T] in -1 … 1, and its samples a second. Raises ValueError for a ZIP file."""
        if self.suffix == ".zip":
            raise ValueError("a ZIP file holds more than audio; save it, or ask for audio alone")
        samples, rate = soundfile.read(io.BytesIO(self.content), dtype="float32")
        return samples, rate


class TextToSpeech:
    """A loaded model. Threads may share it: what they ask for at the same time is made together."""

    def __init__(self, service: Service):
        self.service = service

    def say(self, text: str, speaker: str | Path, **inputs: object) -> Speech:
        """Speak `text` in the voice of `speaker`, a clip or a voice file; inputs: the service's, by name.

        Raises ValueError, in one line, for an input that is unknown or out of range and for a clip that
        cannot be used."""
        return self.made(make_request(text, speaker, inputs))

    def convert(self, source_audio: str | Path, speaker: str | Path, **inputs: object) -> Speech:
        """What is said in `source_audio`, said again in the voice of `speaker`; else as `say`."""
        return self.made(make_request(None, speaker, {"source_audio": source_audio, **inputs}))

    def made(self, request: Request) -> Speech:
        """The result of a request, read."""
        with tempfile.TemporaryDirectory(prefix="indextts-") as folder:
            result = self.service.run(request, Path(folder))
            return Speech(result.path.read_bytes(), result.path.suffix, result.metrics)

    def stream(self, text: str | None, speaker: str | Path, **inputs: object) -> Iterator[Speech]:
        """As `say`, but a WAV file for each segment as soon as it is done; their samples one after another
        are those of `say`, or of `convert` for text None and a source_audio. `stream="chunks"` gives the
        first after half a second of speech, while its segment is still being made; the samples are then
        others than those of `say`. Raises ValueError when the first is asked for, also for an input that
        shapes a whole file (format, rate, loudness, extras)."""
        refused = sorted(set(inputs) & WHOLE_FILE)
        if refused:
            raise ValueError(
                f"{', '.join(refused)}: not for a stream, whose parts are WAV files as they are done"
            )
        stream = inputs.pop("stream", "segments")
        request = make_request(text, speaker, inputs)
        with tempfile.TemporaryDirectory(prefix="indextts-") as folder:
            for path in self.service.stream(request, Path(folder), stream):
                content = path.read_bytes()
                path.unlink()
                yield Speech(content, path.suffix, {})


def make_request(text: str | None, speaker: str | Path, inputs: Mapping[str, object]) -> Request:
    """Raises ValueError for an unknown input and for a file that is none."""
    unknown = sorted(set(inputs) - set(INPUTS))
    if unknown:
        raise ValueError(f"unknown input {', '.join(unknown)}; allowed: {', '.join(INPUTS)}")
    values = {"text": text, "speaker": speaker, **inputs}
    for name in FILES:
        if values.get(name) is not None:
            if not isinstance(values[name], (str, Path)) or not Path(values[name]).is_file():
                raise ValueError(f"{name} is '{values[name]}'; there is no such file")
            values[name] = Path(values[name])
    if values["speaker"] is None:
        raise ValueError("speaker is missing; give a file of 5 to 15 s of speech")
    return Request(**values)


def load(model: str | None = None) -> TextToSpeech:
    """A model by its name in `configs/` or its directory; None: the one that INDEXTTS_MODEL names. Everything
    else is as the environment says (`docs/configuration.md`).

    Raises ValueError when there is no such model or its files cannot be had or are wrong."""
    return TextToSpeech(Service(Settings.read(model=model)))
