"""A conversation as a JSON list of turns, in place of a text: `[{"voice": "anna", "text": "Hello."}, …]`.

It is the other way of writing `[voice:anna]Hello.` (`pipeline.text.markup`).
"""

from __future__ import annotations

import json
import re

from pipeline.text.markup import check_voice_name

KEYS = {"voice", "text", "emotion"}
_START = re.compile(r'\s*\[\s*\{\s*"')  # nobody has this read aloud
_BRACKETS = re.compile(r"[\[\]［］【】\n]")  # would end the markup that an emotion is written into


def as_markup(text: str) -> str:
    """A JSON list of turns as text with markup; any other text as it is.

    Raises ValueError in one line for what begins like such a list and is none."""
    if not isinstance(text, str) or not _START.match(text):
        return text
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"the text begins like a JSON list of turns and is none: {str(e)[:80]}") from e
    return "".join(_markup(number, turn) for number, turn in enumerate(turns, 1))


def _markup(number: int, turn: object) -> str:
    allowed = "a turn is an object of text, voice and, if need be, emotion"
    if not isinstance(turn, dict):
        raise ValueError(f"turn {number} is no object; {allowed}")
    if unknown := sorted(set(turn) - KEYS):
        raise ValueError(f"turn {number} has {', '.join(unknown)[:40]!r}; {allowed}")
    text, emotion = turn.get("text"), turn.get("emotion")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"turn {number} has no text; {allowed}")
    if emotion is not None and (not isinstance(emotion, str) or _BRACKETS.search(emotion)):
        raise ValueError(f"the emotion of turn {number} is not a line of text without brackets")
    try:
        voice = check_voice_name(turn.get("voice"))
    except ValueError as e:
        raise ValueError(f"turn {number}: {e}") from e
    return f"[voice:{voice}{f', {emotion.strip()}' if emotion and emotion.strip() else ''}]{text}"
