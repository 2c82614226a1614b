"""What `POST /v1/audio/speech` may say: the OpenAI API's fields, and the service's further inputs by their own names.

`input` is the service's text, `instructions` its emotion_text; `voice` names a voice of the library.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.formats import RESPONSE_FORMATS
from gateway.problem import Problem, refused
from pipeline.text.markup import Turn, split_markup
from pipeline.text.turns import as_markup
from service.audio_output.encode import FORMATS
from service.request import Request

STREAM_FORMATS = ("audio", "sse")
ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")  # names that clients come with; there is one model here
RENAMED = {"text": "input", "emotion_text": "instructions", "output_format": "response_format"}
OWN = ("model", "voice", "response_format", "stream_format", "progress")
FILES = ("speaker", "emotion_audio", "source_audio", "adapter")
NOT_HERE = {"text", "voices", "output_format", *FILES}
FIELDS = frozenset(field.name for field in dataclasses.fields(Request)) - NOT_HERE
KNOWN = frozenset({*OWN, *FILES, *FIELDS, *RENAMED.values()})
WHOLE = ("loudness", "return_voice", "receipt", "subtitles")  # need the end before the beginning
QUICK_START_TOKENS = 60
MAX_NAME = 64
NOWHERE = Path("speaker")  # stands for files that the speaker's own process will have


@dataclass(frozen=True)
class Upload:
    """A file of the request: its content, or the https URL that has it."""

    content: bytes = b""
    url: str = ""


@dataclass(frozen=True)
class Asked:
    """A request as it came in. inputs: of `Request`, checked, with a seed, without files; voice: of the library, None
    where files has the speaker; files: by the input's name; names: the voices that the text's markup asks for; whole:
    it cannot be streamed."""

    inputs: Mapping[str, object]
    voice: str | None
    files: Mapping[str, Upload]
    names: tuple[str, ...]
    format: str
    sse: bool
    whole: bool
    packed: bool
    progress: bool


def read_body(body: bytes, models: frozenset[str]) -> Asked:
    """Raises Problem for anything that the service would refuse, before it has to."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise Problem(400, f"the body is not JSON: {str(e)[:80]}", code="invalid_json") from e
    if not isinstance(content, dict):
        raise Problem(400, "the body is not a JSON object", code="invalid_json")
    content = {name: value for name, value in content.items() if value is not None}
    if unknown := sorted(set(content) - KNOWN):
        named = ", ".join(unknown)[:80]
        raise Problem(
            400, f"unknown parameter {named!r}", param=unknown[0][:MAX_NAME], code="unknown_parameter"
        )
    check_model(content.get("model"), models)
    format = one_of(content, "response_format", RESPONSE_FORMATS, "mp3")
    sse = one_of(content, "stream_format", STREAM_FORMATS, "audio") == "sse"
    files = {name: upload(content[name], name) for name in FILES if name in content}
    voice = None if "speaker" in files else voice_name(content.get("voice"))
    inputs = checked(content, format, files)
    packed = bool(inputs["return_voice"] or inputs["receipt"] or inputs["subtitles"] != "none")
    if packed and format not in FORMATS:
        raise Problem(
            400,
            f"return_voice, receipt and subtitles make a ZIP file; allowed with it: "
            f"response_format {', '.join(name for name in RESPONSE_FORMATS if name in FORMATS)}",
            param="response_format",
            code="invalid_value",
        )
    progress = content.get("progress", False)
    if not isinstance(progress, bool) or (progress and not sse):
        message = f"progress is {str(progress)[:40]!r}; allowed: true with stream_format sse, false"
        raise Problem(400, message, param="progress", code="invalid_value")
    whole = packed or inputs["loudness"] is not None
    return Asked(inputs, voice, files, spoken_by(inputs["text"]), format, sse, whole, packed, progress)


def check_model(value: object, models: frozenset[str]) -> None:
    if value is not None and value not in (*models, *ALIASES):
        allowed = ", ".join(sorted(models))
        raise Problem(
            404, f"the model {str(value)[:MAX_NAME]!r} does not exist; allowed: {allowed}", param="model",
            code="model_not_found",
        )  # fmt: skip


def one_of(content: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = content.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise Problem(
            400,
            f"{name} is {str(value)[:40]!r}; allowed: {', '.join(allowed)}",
            param=name,
            code="invalid_value",
        )
    return value


def voice_name(value: object) -> str:
    """A name, or the API's object of an id."""
    if isinstance(value, dict):
        value = value.get("id")
    if not isinstance(value, str) or not value:
        raise Problem(
            400, "voice is missing; name a voice of the library, or give a clip as speaker", param="voice",
            code="missing_required_parameter",
        )  # fmt: skip
    return value


def upload(value: object, name: str) -> Upload:
    """A data URI's content, or an https URL as it stands."""
    if isinstance(value, str) and value.startswith("data:"):
        head, comma, data = value.partition(",")
        try:
            if comma and head.endswith(";base64"):
                return Upload(base64.b64decode(data, validate=True))
        except binascii.Error:
            pass
    elif isinstance(value, str) and value.startswith("https://"):
        return Upload(url=value)
    raise Problem(
        400,
        f"{name} is not a file; allowed: a data URI in base64, or an https URL",
        param=name,
        code="invalid_value",
    )


def checked(content: Mapping[str, object], format: str, files: Collection[str]) -> dict[str, object]:
    """The inputs of the service, all of them, without files; files: those that there are."""
    inputs = {name: content[name] for name in FIELDS if name in content}
    inputs["emotion_text"] = content.get("instructions", content.get("emotion_text"))
    inputs["output_format"] = format if format in FORMATS else "wav"
    text = content.get("input")
    if text is None and "source_audio" not in files:
        raise Problem(
            400, "input is missing; give the text to speak", param="input", code="missing_required_parameter"
        )
    names = frozenset({*FIELDS, "text", "output_format"})
    try:
        request = Request(
            **({"quick_start_tokens": QUICK_START_TOKENS} | inputs),
            **({"speaker": NOWHERE} | dict.fromkeys(files, NOWHERE)),
            text=text,
        ).checked()
    except ValueError as e:
        raise refused(e, names, RENAMED) from e
    return {
        field.name: getattr(request, field.name)
        for field in dataclasses.fields(request)
        if field.name not in ("voices", *FILES)
    }


def spoken_by(text: object) -> tuple[str, ...]:
    """The voices that a text's markup asks for. Raises Problem for markup that cannot be read."""
    if text is None:
        return ()
    try:
        parts = split_markup(as_markup(text))
    except ValueError as e:
        raise Problem(400, " ".join(str(e).split()), param="input", code="invalid_value") from e
    return tuple(dict.fromkeys(part.voice for part in parts if isinstance(part, Turn)))
