"""Pauses written into a text: `[pause]`, `[pause:1.5s]`, `[pause 300ms]`, SSML's `<break time="1s"/>`, and blank
lines between paragraphs; and who speaks from here on: `[voice:anna]`, `[voice:anna, happy=0.6]`.

A bracket that says pause and then a number is markup, and an error if the number cannot be used; so is one that says
voice and a colon; every other bracket is text.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

DEFAULT_PAUSE_SECONDS = 0.5
PARAGRAPH_SECONDS = 0.8
MAX_PAUSE_SECONDS = 10.0
MAX_TOTAL_SECONDS = 60.0  # of all written pauses; paragraphs are held by MAX_PARTS
MAX_PARTS = 1000  # each part of speech is at least one run of the model
SHOWN_CHARACTERS = 20  # of a length that is refused
VOICE_NAME = re.compile(r"\w[\w-]{0,63}")
VOICE_NAME_RULE = "1 to 64 letters, digits, _ and -"

# Every repetition ends at a bracket or at what cannot repeat, so that the time is linear in the text.
_MARKUP = re.compile(
    r"(?ai:[\[［【] *(?:pause|停顿) *(?:[:： ]([^\[\]［］【】\n]*))?[\]］】])"
    r"|(?ai:[\[［【] *voice *[:：]([^\[\]［］【】\n]*)[\]］】])"
    r"|(?ai:<break\b([^<>\n]{0,200})>(?: *</break>)?)"
    r"|\n[^\S\n]*\n\s*"
)
_LENGTH = re.compile(
    r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) *(ms|milliseconds?|毫秒|s|secs?|seconds?|秒|秒钟)?",
    re.IGNORECASE | re.ASCII,
)
_BREAK_TIME = re.compile(r"""\btime\s*=\s*["']?([^"'<>/]*)""", re.IGNORECASE | re.ASCII)
_BREAK_STRENGTH = re.compile(r"""\bstrength\s*=\s*["']?([a-z-]*)""", re.IGNORECASE | re.ASCII)
# Seconds of SSML's strengths.
_STRENGTHS = {
    "none": 0.0,
    "x-weak": 0.1,
    "weak": 0.25,
    "medium": DEFAULT_PAUSE_SECONDS,
    "strong": 0.8,
    "x-strong": 1.2,
}
_MARKS = re.compile(
    r" *[.,;:!?。，、；：！？](?= *[^\W\d]|\s*$)"
)  # behind a pause: the end of what was said before it
_NUMBER = re.compile(r"[+-]?\.?[0-9]")
_LINE_ENDS = str.maketrans({"\r": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n"})
_MILLISECONDS = ("ms", "milli", "毫")
_FULL_WIDTH_DIGITS = {0xFF10 + i: str(i) for i in range(10)} | {0xFF0E: ".", 0xFF1A: ":"}

Spoken = TypeVar("Spoken")  # Speech, or what is made of it


@dataclass(frozen=True)
class Speech:
    """Text to speak, without markup: not empty, no white space around it, single line breaks kept."""

    text: str


@dataclass(frozen=True)
class Pause:
    """Silence, more than 0 s."""

    seconds: float


@dataclass(frozen=True)
class Turn:
    """From here on `voice` speaks; emotion: as weights or in words, None for the request's own."""

    voice: str
    emotion: str | None = None


@dataclass(frozen=True)
class Paragraph:
    """A blank line, before `join_pauses` makes a pause of it."""


def parse_markup(text: str) -> list[Speech | Pause | Turn]:
    """The parts of `text` in order, no two pauses side by side. Takes linear time; raises as `split_markup` does."""
    return cast("list[Speech | Pause | Turn]", join_pauses(split_markup(text)))


def split_markup(text: str) -> list[Speech | Pause | Turn | Paragraph]:
    """The parts of `text` in order, as they stand.

    Raises ValueError in one line for a pause that is too long or whose length cannot be read, for pauses that
    are too long together, and for too many parts.
    """
    if not isinstance(text, str):
        raise ValueError(f"the text is of type {type(text).__name__}; it must be a string")
    parts = list(itertools.islice(_parts(text), MAX_PARTS + 1))
    if len(parts) > MAX_PARTS:
        raise ValueError(
            f"pauses and blank lines cut the text into more than {MAX_PARTS:,} parts, the most allowed"
        )
    total = sum(part.seconds for part in parts if isinstance(part, Pause))
    if total > MAX_TOTAL_SECONDS:
        raise ValueError(
            f"the pauses in the text are {total:g} s together; at most {MAX_TOTAL_SECONDS:g} s are allowed"
        )
    return parts


def join_pauses(parts: Sequence[Spoken | Pause | Paragraph]) -> list[Spoken | Pause]:
    """`parts` with neighbouring pauses as one, their lengths added up.

    A paragraph is a pause of PARAGRAPH_SECONDS where something is spoken before and after it, else nothing.
    """
    spoken = [index for index, part in enumerate(parts) if not isinstance(part, (Pause, Turn, Paragraph))]
    joined: list[Spoken | Pause] = []
    for index, part in enumerate(parts):
        if isinstance(part, Paragraph):
            if not spoken or not spoken[0] < index < spoken[-1]:
                continue
            part = Pause(PARAGRAPH_SECONDS)
        before = joined[-1] if joined else None
        if isinstance(part, Pause) and isinstance(before, Pause):
            joined.pop()
            part = Pause(before.seconds + part.seconds)
        joined.append(part)
    return joined


def _parts(text: str) -> Iterator[Speech | Pause | Turn | Paragraph]:
    text = text.replace("\r\n", "\n").translate(_LINE_ENDS)
    start = 0
    for match in _MARKUP.finditer(text):
        part = _part(match)
        if part is not None:
            said = text[start : match.start()].strip()
            marks = _MARKS.match(text, match.end()) if said and isinstance(part, Pause) else None
            yield from _speech(said + (marks[0].strip() if marks else ""))
            yield part
            start = marks.end() if marks else match.end()
    yield from _speech(text[start:])


def _speech(text: str) -> Iterator[Speech]:
    text = text.strip()
    if text:
        yield Speech(text)


def _part(match: re.Match[str]) -> Pause | Turn | Paragraph | None:
    """What the match stands for; None if it is text."""
    if match[0].startswith("\n"):
        return Paragraph()
    if match[2] is not None:
        return _turn(match[2])
    if match[3] is not None:
        time = _BREAK_TIME.search(match[3])
        if time is None:
            strength = _BREAK_STRENGTH.search(match[3])
            seconds = (
                _STRENGTHS.get(strength[1].lower(), DEFAULT_PAUSE_SECONDS)
                if strength
                else DEFAULT_PAUSE_SECONDS
            )
            return Pause(seconds) if seconds else None
        value = time[1].strip()
    elif match[1] is None:
        return Pause(DEFAULT_PAUSE_SECONDS)
    else:
        value = match[1].translate(_FULL_WIDTH_DIGITS).strip()
    if not _NUMBER.match(value):
        return None
    length = _LENGTH.fullmatch(value)
    allowed = f"write more than 0 and at most {MAX_PAUSE_SECONDS:g} s, as in [pause:1.5s] or [pause:300ms]"
    if length is None:
        raise ValueError(f"the pause length {_shown(value)} cannot be read; {allowed}")
    milliseconds = (length[2] or "").lower().startswith(_MILLISECONDS)
    seconds = float(length[1]) * (0.001 if milliseconds else 1.0)
    if not 0 < seconds <= MAX_PAUSE_SECONDS:
        raise ValueError(f"the pause length {_shown(value)} is not allowed; {allowed}")
    return Pause(seconds)


def _turn(value: str) -> Turn:
    name, _, emotion = value.replace("，", ",").partition(",")
    return Turn(check_voice_name(name.strip()), emotion.strip() or None)


def check_voice_name(name: object) -> str:
    """`name`, if a voice may be called that. Raises ValueError."""
    if not isinstance(name, str) or not VOICE_NAME.fullmatch(name):
        raise ValueError(f"the voice name {_shown(str(name))} is not allowed; allowed: {VOICE_NAME_RULE}")
    return name


def _shown(value: str) -> str:
    return ascii(value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "...")
