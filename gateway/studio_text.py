"""What the studio says of a text and of a clip, in plain words, without a model."""

from __future__ import annotations

from pathlib import Path

from enhance.audio_input.read import read_audio
from enhance.report import judge
from enhance.window import choose_window
from pipeline.text.glossary import Glossary
from pipeline.text.markup import Pause
from pipeline.text.normalize import TextNormalizer
from pipeline.text.phones import PhoneTokenizer
from pipeline.text.script import prepare_script
from pipeline.text.turns import as_markup

MOST_SECONDS = 15.0  # of a clip that are used


def reading_of(text: str, glossary: str | None = None) -> list[list[str]]:
    """Rows of segment, voice, spoken text, as the small voice cuts it; what is wrong with the text in
    place of them."""
    if not text.strip():
        return []
    try:
        normalizer = TextNormalizer(Glossary.parse(glossary or ""), phones=True)
        script = prepare_script(as_markup(text), normalizer, PhoneTokenizer())
    except ValueError as e:
        return [["", "", str(e)]]
    rows, number = [], 0
    for part in script:
        if isinstance(part, Pause):
            rows.append(["", "", f"(pause of {part.seconds:g} s)"])
        else:
            number += 1
            rows.append([str(number), part.voice or "", part.text])
    return rows


def plain_report(path: str) -> str:
    """What can be said of a clip, as Markdown."""
    try:
        audio = read_audio(Path(path))
        report = judge(audio, choose_window(audio.samples, audio.sample_rate, MOST_SECONDS, "best"))
    except ValueError as e:
        return f"⚠ {e}"
    lines = [f"{audio.seconds:.1f} s at {audio.sample_rate} Hz"]
    return "\n\n".join([*lines, *(f"⚠ {warning}" for warning in report.warnings)]) + (
        "" if report.warnings else ", nothing to complain of"
    )
