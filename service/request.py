"""One request: its fields, their limits, and the check that every field is within them.

The limits are the ones the Cog inputs declare, checked again here because a server without a schema
passes anything through.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import SynthesisConfig
from pipeline.text.glossary import Glossary
from pipeline.text.languages import SPOKEN
from service.audio_output.encode import FORMATS, SAMPLE_RATES, check_output
from service.audio_output.loudness import MAX_TARGET, MIN_TARGET
from service.fields import checked_values, choice, number, switch, words
from service.reference import ReferenceOptions

MAX_SEED = 2**32 - 1
MIN_DURATION, MAX_DURATION = 0.1, 3600.0  # seconds
EMOTION_SOURCES = ("emotion_audio", "emotion_vector", "emotion_text", "emotion_from_text")
# What only the way from a text to codes takes.
OF_A_TEXT = (
    "glossary",
    "segment_tokens",
    "segment_silence_ms",
    "temperature",
    "top_p",
    "top_k",
    "num_beams",
    "repetition_penalty",
    "length_penalty",
    "max_mel_tokens",
    "duration",
    "voices",
)


@dataclass(frozen=True)
class Request:
    """speaker is needed, and either text or source_audio; voices: files of further speakers by the name that
    `[voice:NAME]` calls them, a ZIP file as speaker adds its own; None elsewhere means the default, the model's or this
    class's own (seed: a random one). What each field does is said by its input in predict.py."""

    text: str | None
    speaker: Path
    source_audio: Path | None = None
    adapter: Path | None = None
    voices: Mapping[str, Path] | None = None
    emotion_audio: Path | None = None
    emotion_vector: str | None = words()
    emotion_text: str | None = words()
    emotion_from_text: bool = switch(False)
    emotion_alpha: float = number(float, 0.0, 1.0, default=1.0)
    emotion_random: bool = switch(False)
    denoise: bool = switch(False)
    trim: bool = switch(True)
    reference_window: str = choice(("best", "first"), default="best")
    language: str = choice(("auto", *SPOKEN), default="auto")
    glossary: str | None = words()
    speed: float | None = number(float, 0.5, 2.0)
    duration: float | None = number(float, MIN_DURATION, MAX_DURATION)
    segment_tokens: int | None = number(int, 20, 600)
    segment_silence_ms: int | None = number(int, 0, 5000)
    quick_start_tokens: int = number(int, 0, 600, default=0)
    temperature: float | None = number(float, 0.0, 2.0)
    top_p: float | None = number(float, 0.01, 1.0)
    top_k: int | None = number(int, 0, 1000)
    num_beams: int | None = number(int, 1, 8)
    repetition_penalty: float | None = number(float, 1.0, 20.0)
    length_penalty: float | None = number(float, -5.0, 5.0)
    max_mel_tokens: int | None = number(int, 50, 1815)
    diffusion_steps: int | None = number(int, 1, 100)
    cfg_rate: float | None = number(float, 0.0, 2.0)
    seed: int | None = number(int, 0, MAX_SEED)
    output_format: str = choice(tuple(FORMATS), default="wav")
    sample_rate: int | None = choice(SAMPLE_RATES)
    loudness: float | None = number(float, MIN_TARGET, MAX_TARGET)
    return_voice: bool = switch(False)
    receipt: bool = switch(False)
    subtitles: str = choice(("none", "srt", "vtt"), default="none")

    def checked(self) -> Request:
        """This request with every field of its kind and in its range, and a seed.

        Raises ValueError for the first field that is not, or when fields contradict each other."""
        values = checked_values(self)
        check_output(
            format=values["output_format"], sample_rate=values["sample_rate"], loudness=values["loudness"]
        )
        if values["seed"] is None:
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        checked = Request(**values)
        if checked.source_audio is not None:
            checked.check_conversion()
        elif checked.text is None:
            raise ValueError("text is missing; give what to say, or source_audio: speech to say again")
        checked.check_emotion()
        if checked.duration is not None and checked.speed not in (None, 1.0):
            raise ValueError("speed and duration are given; duration sets the speed, so give one of them")
        return checked

    def check_conversion(self) -> None:
        """Nothing is given that speech which is said again does not take."""
        if self.text is not None and str(self.text).strip():
            raise ValueError(
                "text and source_audio are given; give what to say or speech to say again, not both"
            )
        emotions = [name for name in EMOTION_SOURCES if getattr(self, name)]
        if emotions:
            raise ValueError(
                f"{' and '.join(emotions)} and source_audio are given; the emotion acts on how a text is read, and "
                f"what source_audio says has its delivery already: leave {' and '.join(emotions)} out"
            )
        given = [name for name in OF_A_TEXT if getattr(self, name) is not None]
        if self.language != "auto":
            given.append("language")
        if self.subtitles != "none":
            given.append("subtitles")
        if given:
            raise ValueError(
                f"{', '.join(given)} and source_audio are given; allowed with text alone: source_audio is not read "
                "from a text"
            )

    def check_emotion(self) -> None:
        """One source at most, and no option of a source that is not there."""
        sources = [name for name in EMOTION_SOURCES if getattr(self, name)]
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} are given; give at most one source of emotion")
        if self.emotion_random and sources in ([], ["emotion_audio"]):
            raise ValueError(
                "emotion_random picks the voices behind emotion weights; give emotion_vector, emotion_text or "
                "emotion_from_text with it"
            )

    def reference_options(self) -> ReferenceOptions:
        return ReferenceOptions(self.denoise, self.trim, self.reference_window)

    def synthesis(self, defaults: SynthesisConfig) -> SynthesisConfig:
        """The model's synthesis defaults with what this request sets."""
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(SynthesisConfig)
            if getattr(self, field.name, None) is not None
        }
        return dataclasses.replace(defaults, **given)

    def terms(self) -> Glossary:
        """The request's own glossary. Raises ValueError for a line that is no term=reading."""
        return Glossary.parse(self.glossary or "")
