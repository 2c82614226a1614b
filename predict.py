"""Cog predictor for IndexTTS2: text and a few seconds of a voice in, that voice saying the text out."""
import logging
import os
import tempfile
from pathlib import Path as LocalPath
from typing import Optional

from cog import BaseRunner, Input, Path

from pipeline.request import LIMITS, Request
from pipeline.service import Service

logging.basicConfig(level=os.environ.get("INDEXTTS_LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s")


def uploaded(value: object, name: str) -> Optional[LocalPath]:
    """The file Cog made of a file input, or None. A string is never opened: the server passes strings
    that are no URL through as they came. Raises ValueError."""
    if value is None:
        return None
    allowed = "send the file as a data URI or an http(s) URL"
    if not isinstance(value, LocalPath):
        raise ValueError(f"{name} is not a file; {allowed}")
    path = LocalPath(value)  # fetches a URL
    temporary = os.path.realpath(tempfile.gettempdir())
    if os.path.commonpath([temporary, os.path.realpath(path)]) != temporary:
        raise ValueError(f"{name} is not an uploaded file; {allowed}")
    return path


def number(name: str, default, description: str):
    """A Cog input with the limits every request is held to."""
    limit = LIMITS[name]
    return Input(default=default, description=description, ge=limit.kind(limit.low), le=limit.kind(limit.high))


class Predictor(BaseRunner):
    def setup(self) -> None:
        self.service = Service()
        self.service.warm_up()

    def predict(
        self,
        text: str = Input(description="What to say, in Chinese, English or both."),
        speaker: Path = Input(description=(
            "The voice to clone: 5 to 15 s of clean speech (WAV, FLAC, MP3, OGG, M4A …), or a voice file.")),
        emotion_audio: Optional[Path] = Input(default=None, description="A clip whose emotion to take; default: the speaker's."),
        emotion_alpha: float = number("emotion_alpha", 1.0, "Strength of the emotion, 0 (the speaker's own) to 1."),
        emotion_vector: Optional[str] = Input(default=None, description=(
            "Emotion as weights from 0 to 1: \"happy=0.6, calm=0.2\", or eight numbers for happy, angry, sad, afraid, "
            "disgusted, melancholic, surprised, calm.")),
        emotion_text: Optional[str] = Input(default=None, description="Emotion described in words, read by a language model."),
        denoise: bool = Input(default=False, description="Clean the reference with a speech enhancement model first."),
        trim: bool = Input(default=True, description="Take silence off both ends of the reference."),
        reference_window: str = Input(default="best", choices=["best", "first"], description=(
            "Of a reference longer than 15 s: its cleanest part, or its beginning.")),
        temperature: float = number("temperature", 0.8, "Randomness of the delivery; 0: always the most likely."),
        top_p: float = number("top_p", 0.8, "Sample from the likeliest codes of this total probability."),
        top_k: int = number("top_k", 30, "Sample from this many codes at most; 0: no limit."),
        num_beams: int = number("num_beams", 3, "Beams of the search; 1 is fastest."),
        repetition_penalty: float = number("repetition_penalty", 10.0, "How strongly repeated codes are held back."),
        max_mel_tokens: int = number("max_mel_tokens", 1500, "Most codes per segment, 50 a second."),
        diffusion_steps: int = number("diffusion_steps", 25, "Steps from codes to mel; fewer are faster and rougher."),
        cfg_rate: float = number("cfg_rate", 0.7, "How strongly the mel follows voice and codes."),
        seed: Optional[int] = number("seed", None, "The same seed gives the same audio; empty: a random one."),
    ) -> Path:
        values = {name: value for name, value in locals().items() if name != "self"}
        for name in ("speaker", "emotion_audio"):
            values[name] = uploaded(values[name], name)
        if values["speaker"] is None:
            raise ValueError("speaker is missing; give a file of 5 to 15 s of speech")
        result = self.service.run(Request(**values))
        for name, value in result.metrics.items():
            self.record_metric(name, value)
        return Path(result.path)
