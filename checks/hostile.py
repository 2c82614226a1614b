"""Hostile requests: what a careless client, a fuzzer or an attacker posts, with the outcomes that are right.

Types, limits and choices come from the served schema, so that an input added there is attacked here.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from checks.hostile_values import (
    BAD_PATHS,
    BROKEN_BODIES,
    DOUBTFUL_TEXTS,
    GOOD_PATHS,
    NO_FILES,
    ODD_SURROUNDINGS,
    OTHER_STRINGS,
    QUICK,
    REFUSED_TEXTS,
    SPOKEN_TEXTS,
    TEXT,
    WRONG_TYPES,
)
from checks.server import data_uri

REJECTED = frozenset({"http_400", "http_415", "http_422"})  # by the server, before the predictor sees it
REFUSED = frozenset({"failed"})  # by the predictor, in one line
SPOKEN = frozenset({"succeeded"})
EITHER = REFUSED | SPOKEN
SPEAKER = Path(__file__).resolve().parent.parent / "examples/speaker.wav"
CLIP_SECONDS = 2
PLAIN_TYPES = {"string": str, "boolean": bool}


@dataclass(frozen=True)
class Hostile:
    """One request: `body` is posted, `outcomes` are the statuses that are right."""

    group: str
    name: str
    body: bytes
    outcomes: frozenset[str]
    content_type: str = "application/json"


def clip_of(seconds: float = CLIP_SECONDS, start_seconds: float = 0.0) -> bytes:
    """A part of the example reference, as a WAV file."""
    rate = soundfile.info(SPEAKER).samplerate
    start = round(start_seconds * rate)
    samples, _ = soundfile.read(SPEAKER, start=start, stop=start + round(seconds * rate))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def valid_inputs(clip: bytes) -> dict[str, object]:
    """Inputs of a request that succeeds, as quickly as one can."""
    return {"text": TEXT, "speaker": data_uri(clip), **QUICK}


def body_of(inputs: dict[str, object], **beside: object) -> bytes:
    return json.dumps({"input": inputs, **beside}).encode()


def kind_of(schemas: dict, name: str) -> dict:
    """The property of an input, with its choices where it has some."""
    found = schemas["Input"]["properties"][name]
    return found | schemas[name] if "allOf" in found else found


def fits(kind: dict, value: object) -> bool:
    """Whether JSON `value` is what the property `kind` allows."""
    if "enum" in kind:
        return any(type(value) is type(choice) and value == choice for choice in kind["enum"])
    if kind["type"] in PLAIN_TYPES:
        return isinstance(value, PLAIN_TYPES[kind["type"]])
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    if kind["type"] == "integer" and value != int(value):
        return False
    return kind.get("minimum", -math.inf) <= value <= kind.get("maximum", math.inf)


def values(schemas: dict, valid: dict[str, object]) -> Iterator[Hostile]:
    """Every input with every wrong type, past each limit, and with choices that are none."""
    for name in schemas["Input"]["properties"]:
        kind = kind_of(schemas, name)
        tried = {label: value for label, value in WRONG_TYPES.items() if not fits(kind, value)}
        if "minimum" in kind:
            tried |= {
                "below": kind["minimum"] - 1,
                "above": kind["maximum"] + 1,
                "far below": -1e308,
                "far above": 10**30,
            }
        if "enum" in kind:
            tried |= {
                f"choice {value!r}": value for value in ("", "nothing", f"{kind['enum'][0]} ", "\u0000")
            }
        for label, value in tried.items():
            yield Hostile("types and limits", f"{name}: {label}", body_of(valid | {name: value}), REJECTED)


def texts(schemas: dict, valid: dict[str, object]) -> Iterator[Hostile]:
    for found, outcomes in ((REFUSED_TEXTS, REFUSED), (SPOKEN_TEXTS, SPOKEN), (DOUBTFUL_TEXTS, EITHER)):
        for label, text in found.items():
            yield Hostile("texts", label, body_of(valid | {"text": text}), outcomes)
    for name in schemas["Input"]["properties"]:
        kind = kind_of(schemas, name)
        if kind["type"] == "string" and "enum" not in kind and "format" not in kind and name != "text":
            for label, value in OTHER_STRINGS.items():
                yield Hostile("other strings", f"{name}: {label}", body_of(valid | {name: value}), EITHER)


def files(schemas: dict, valid: dict[str, object], url: str) -> Iterator[Hostile]:
    """What is no file, and URLs that misbehave, as each file. url: a Trickster's."""
    for name in schemas["Input"]["properties"]:
        if kind_of(schemas, name).get("format") != "uri":
            continue
        for value in NO_FILES:
            yield Hostile("files", f"{name}: {value[:50]!r}", body_of(valid | {name: value}), REFUSED)
        for path in BAD_PATHS:
            yield Hostile("URLs", f"{name}: {path}", body_of(valid | {name: url + path}), REFUSED)
        for path in GOOD_PATHS:  # they lead to audio: no adapter, and nothing to say beside a text
            outcomes = REFUSED if name in ("adapter", "source_audio") else SPOKEN
            yield Hostile("URLs", f"{name}: {path[:50]}", body_of(valid | {name: url + path}), outcomes)


def bodies(valid: dict[str, object]) -> Iterator[Hostile]:
    """What is no request at all, and requests with odd surroundings.

    Not sent: an `id` with a NUL or longer than a file name, which leaves coglet 0.23.1 BUSY for ever, and
    one with `..` or a leading slash, of which it makes folders anywhere. A gateway must not let `id`
    through."""
    for label, body in BROKEN_BODIES.items():
        yield Hostile("bodies", label, body, REJECTED)
    whole = body_of(valid)
    yield Hostile("bodies", "text/plain", whole, REJECTED, content_type="text/plain")
    for label, beside in ODD_SURROUNDINGS.items():
        yield Hostile("bodies", label, body_of(valid, **beside), SPOKEN)
    unknown = {"__class__": 1, "self": 2, "x" * 10_000: 3}
    yield Hostile("bodies", "unknown inputs", body_of(valid | unknown), SPOKEN)
    yield Hostile("bodies", "an input twice", whole[:-2] + b', "seed": 8}}', SPOKEN)
    yield Hostile("bodies", "blanks around", b" \n" * 50_000 + whole, SPOKEN)


def table(schemas: dict, valid: dict[str, object], url: str) -> list[Hostile]:
    """All hostile requests. schemas: components of the served schema; valid: inputs of a request that
    succeeds, which each one changes; url: a Trickster's."""
    return [*values(schemas, valid), *texts(schemas, valid), *files(schemas, valid, url), *bodies(valid)]
