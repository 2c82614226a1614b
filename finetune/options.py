"""What a training is asked for, and the numbers that are not asked for."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapter_methods import METHODS
from service.fields import checked_values, choice, number, switch, words

MAX_SEED = 2**32 - 1
DEFAULT_STEPS = 300
RANK = 16
MICRO_SECONDS = 20.0  # of audio in one pass; a step of more is several
CHECKPOINTING_WIDTH = 1024  # of the GPT from which on activations are computed again rather than kept


@dataclass(frozen=True)
class Options:
    """dataset or wav_urls is needed; None elsewhere means the default. What each field does is said by its input in
    train.py."""

    dataset: Path | None = None
    wav_urls: str | None = words()
    enhance_audio: bool = switch(False)
    trim_silence: bool = switch(True)
    language: str = choice(("auto", "zh", "en"), default="auto")
    method: str = choice(METHODS, default="lora")
    train_gpt: bool = switch(True)
    train_s2mel: bool = switch(True)
    steps: int | None = number(int, 1, 100_000)
    epochs: float | None = number(float, 0.01, 1000.0)
    batch_seconds: float = number(float, 2.0, 2000.0, default=40.0)
    learning_rate: float | None = number(float, 1e-7, 1e-1)
    seed: int = number(int, 0, MAX_SEED, default=0)
    validation_share: float = number(float, 0.0, 0.5, default=0.1)

    def checked(self) -> Options:
        """These options with every field of its kind and in its range. Raises ValueError for the first that is not,
        or when fields contradict each other."""
        checked = Options(**checked_values(self))
        if (checked.dataset is None) == (checked.wav_urls is None):
            given = "both are given" if checked.dataset else "neither is given"
            raise ValueError(f"give one of dataset and wav_urls; {given}")
        if checked.steps is not None and checked.epochs is not None:
            raise ValueError(
                f"steps {checked.steps} and epochs {checked.epochs:g} are given; give one of them"
            )
        if not (checked.train_gpt or checked.train_s2mel):
            raise ValueError("train_gpt and train_s2mel are false; at least one must be true")
        return checked

    def passes(self) -> int:
        """How many passes a step has, of `batch_seconds` / passes of audio each."""
        return max(1, math.ceil(self.batch_seconds / MICRO_SECONDS))

    def rate(self) -> float:
        """The learning rate: as asked, or the method's own."""
        return self.learning_rate or {"lora": 1e-3, "full": 1e-4}[self.method]

    def to_json(self) -> str:
        """The fields by name, without the data set's path."""
        values = {key: value for key, value in dataclasses.asdict(self).items() if key != "dataset"}
        return json.dumps(values, ensure_ascii=False, sort_keys=True)
