"""What clients send, read within its limits: a body, or the form of a new voice."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from gateway.problem import Problem
from gateway.voices import MAX_ADAPTER_BYTES, MAX_BYTES

MAX_FORM_BYTES = MAX_BYTES + MAX_ADAPTER_BYTES + 100_000
FILES = ("audio_sample", "adapter")
TEXTS = ("name", "consent", "language", "notes")


@dataclass(frozen=True)
class VoiceForm:
    """A new voice as it is sent; content: of its clip or voice file; adapter: content, empty without one."""

    name: object
    consent: object
    language: str
    notes: str
    content: bytes
    adapter: bytes


async def read_form(request: Request) -> VoiceForm:
    """Raises Problem for a form that is too long or has something else in it."""
    await check_length(request, MAX_FORM_BYTES)
    form = await request.form(max_files=len(FILES), max_fields=10, max_part_size=MAX_FORM_BYTES)
    if unknown := sorted(set(form) - {*FILES, *TEXTS}):
        raise Problem(400, f"unknown parameter {unknown[0][:40]!r}", code="unknown_parameter")
    contents = {}
    for name in FILES:
        file = form.get(name)
        if isinstance(file, str):
            raise Problem(400, f"{name} is a text; give it as a file", param=name)
        contents[name] = b"" if file is None else await file.read()
    if "audio_sample" not in form:
        raise Problem(400, "audio_sample is missing; give the clip as a file", param="audio_sample")
    texts = {name: form.get(name, "") for name in ("language", "notes")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise Problem(400, "language and notes are texts")
    return VoiceForm(
        form.get("name"),
        form.get("consent"),
        **texts,
        content=contents["audio_sample"],
        adapter=contents["adapter"],
    )


async def check_length(request: Request, most: int) -> None:
    """Raises Problem for a body that says it is too long, or does not say how long it is."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise Problem(411, "the body has no Content-Length")
    if int(length) > most:
        raise Problem(413, f"the body has {int(length):,} bytes; allowed: at most {most:,}")


async def read_limited(request: Request, most: int) -> bytes:
    """The body. Raises Problem as soon as it is too long."""
    if request.headers.get("content-length"):
        await check_length(request, most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Problem(413, f"the body has more than {most:,} bytes, the most allowed")
    return bytes(body)
