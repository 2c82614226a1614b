"""One request: its fields, their limits, and the check that every field is within them.

The limits are the ones the Cog inputs declare, checked again here because a server without a schema
passes anything through.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import SynthesisConfig
from pipeline.text.glossary import Glossary
from service.audio_output.encode import FORMATS, SAMPLE_RATES, check_output
from service.audio_output.loudness import MAX_TARGET as MAX_LOUDNESS
from service.audio_output.loudness import MIN_TARGET as MIN_LOUDNESS
from service.reference import ReferenceOptions

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Limit:
    """A number's kind and closed range."""

    kind: type
    low: float
    high: float

    def check(self, name: str, value: object) -> int | float:
        """`value` as self.kind. Raises ValueError saying what is allowed."""
        allowed = f"allowed: {'a whole number' if self.kind is int else 'a number'} from {self.low:g} to {self.high:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name} is not a number; {allowed}")
        if self.kind is int and value != int(value):
            raise ValueError(f"{name} is {value:g}; {allowed}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{name} is {value:g}; {allowed}")
        return self.kind(value)


LIMITS = {
    "emotion_alpha": Limit(float, 0.0, 1.0),
    "speed": Limit(float, 0.5, 2.0),
    "segment_tokens": Limit(int, 20, 600),
    "segment_silence_ms": Limit(int, 0, 5000),
    "temperature": Limit(float, 0.0, 2.0),
    "top_p": Limit(float, 0.01, 1.0),
    "top_k": Limit(int, 0, 1000),
    "num_beams": Limit(int, 1, 8),
    "repetition_penalty": Limit(float, 1.0, 20.0),
    "length_penalty": Limit(float, -5.0, 5.0),
    "max_mel_tokens": Limit(int, 50, 1815),
    "diffusion_steps": Limit(int, 1, 100),
    "cfg_rate": Limit(float, 0.0, 2.0),
    "seed": Limit(int, 0, MAX_SEED),
    "loudness": Limit(float, MIN_LOUDNESS, MAX_LOUDNESS),
    "quick_start_tokens": Limit(int, 0, 600),
}
CHOICES = {
    "reference_window": ("best", "first"),
    "language": ("auto", "zh", "en"),
    "output_format": tuple(FORMATS),
    "sample_rate": SAMPLE_RATES,
    "subtitles": ("none", "srt", "vtt"),
}
SWITCHES = ("denoise", "trim", "emotion_from_text", "emotion_random", "return_voice", "receipt")
TEXTS = ("emotion_vector", "emotion_text", "glossary")
EMOTION_SOURCES = ("emotion_audio", "emotion_vector", "emotion_text", "emotion_from_text")


@dataclass(frozen=True)
class Request:
    """text and speaker are needed; None elsewhere means the default, the model's or this class's own (seed:
    a random one). What each field does is said by its input in predict.py."""

    text: str
    speaker: Path
    emotion_audio: Path | None = None
    emotion_vector: str | None = None
    emotion_text: str | None = None
    emotion_from_text: bool = False
    emotion_alpha: float = 1.0
    emotion_random: bool = False
    denoise: bool = False
    trim: bool = True
    reference_window: str = "best"
    language: str = "auto"
    glossary: str | None = None
    speed: float | None = None
    segment_tokens: int | None = None
    segment_silence_ms: int | None = None
    quick_start_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: int | None = None
    repetition_penalty: float | None = None
    length_penalty: float | None = None
    max_mel_tokens: int | None = None
    diffusion_steps: int | None = None
    cfg_rate: float | None = None
    seed: int | None = None
    output_format: str = "wav"
    sample_rate: int | None = None
    loudness: float | None = None
    return_voice: bool = False
    receipt: bool = False
    subtitles: str = "none"

    def checked(self) -> Request:
        """This request with every field of its kind and in its range, and a seed.

        Raises ValueError for the first field that is not, or when fields contradict each other."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for field in dataclasses.fields(self):
            if values[field.name] is None and field.default is not dataclasses.MISSING:
                values[field.name] = field.default
        for name, limit in LIMITS.items():
            if values[name] is not None:
                values[name] = limit.check(name, values[name])
        for name, choices in CHOICES.items():
            if values[name] is not None and (isinstance(values[name], bool) or values[name] not in choices):
                raise ValueError(
                    f"{name} is {str(values[name])[:40]!r}; allowed: {', '.join(map(str, choices))}"
                )
        for name in SWITCHES:
            if not isinstance(values[name], bool):
                raise ValueError(f"{name} is {str(values[name])[:40]!r}; allowed: true, false")
        for name in TEXTS:
            if values[name] is not None and not isinstance(values[name], str):
                raise ValueError(f"{name} is not a text")
            values[name] = (values[name] or "").strip() or None
        check_output(
            format=values["output_format"], sample_rate=values["sample_rate"], loudness=values["loudness"]
        )
        if values["seed"] is None:
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        checked = Request(**values)
        checked.check_emotion()
        return checked

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
