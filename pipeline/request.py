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
from pipeline.reference import ReferenceOptions

MAX_SEED = 2 ** 32 - 1


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
    "temperature": Limit(float, 0.0, 2.0),
    "top_p": Limit(float, 0.01, 1.0),
    "top_k": Limit(int, 0, 1000),
    "num_beams": Limit(int, 1, 8),
    "repetition_penalty": Limit(float, 1.0, 20.0),
    "max_mel_tokens": Limit(int, 50, 1815),
    "diffusion_steps": Limit(int, 1, 100),
    "cfg_rate": Limit(float, 0.0, 2.0),
    "seed": Limit(int, 0, MAX_SEED),
}


CHOICES = {"reference_window": ("best", "first")}
SWITCHES = ("denoise", "trim")


@dataclass(frozen=True)
class Request:
    """text and speaker are needed; None elsewhere means the default, the model's or this class's own (seed:
    a random one)."""
    text: str
    speaker: Path
    emotion_audio: Path | None = None
    emotion_alpha: float = 1.0
    emotion_vector: str | None = None
    emotion_text: str | None = None
    denoise: bool = False
    trim: bool = True
    reference_window: str = "best"
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: int | None = None
    repetition_penalty: float | None = None
    max_mel_tokens: int | None = None
    diffusion_steps: int | None = None
    cfg_rate: float | None = None
    seed: int | None = None

    def checked(self) -> "Request":
        """This request with every number of its kind and in its range, and a seed.

        Raises ValueError for the first field that is not, or when two emotion sources are given."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, limit in LIMITS.items():
            if values[name] is not None:
                values[name] = limit.check(name, values[name])
        if values["emotion_alpha"] is None:
            values["emotion_alpha"] = 1.0
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in (*CHOICES, *SWITCHES):
            if values[name] is None:
                values[name] = defaults[name]
        for name, choices in CHOICES.items():
            if values[name] not in choices:
                raise ValueError(f"{name} is {str(values[name])[:40]!r}; allowed: {', '.join(choices)}")
        for name in SWITCHES:
            if not isinstance(values[name], bool):
                raise ValueError(f"{name} is {str(values[name])[:40]!r}; allowed: true, false")
        for name in ("emotion_vector", "emotion_text"):
            if values[name] is not None and not isinstance(values[name], str):
                raise ValueError(f"{name} must be a text")
            values[name] = (values[name] or "").strip() or None
        sources = [name for name in ("emotion_audio", "emotion_vector", "emotion_text") if values[name] is not None]
        if len(sources) > 1:
            raise ValueError(f"{' and '.join(sources)} are given; give at most one source of emotion")
        if values["seed"] is None:
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        return Request(**values)

    def reference_options(self) -> ReferenceOptions:
        return ReferenceOptions(self.denoise, self.trim, self.reference_window)

    def synthesis(self, defaults: SynthesisConfig) -> SynthesisConfig:
        """The model's synthesis defaults with what this request sets."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(SynthesisConfig)
                 if getattr(self, field.name, None) is not None}
        return dataclasses.replace(defaults, **given)
