"""Cog predictors for IndexTTS2: text and a few seconds of a voice in, that voice saying the text out.

`Predictor` returns a file, `StreamingPredictor` the segments as they are done. Both are shells over
`pipeline.service`; importing this module imports everything a request needs.
"""
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path as LocalPath
from typing import Optional

import cog
from cog import BaseRunner, Input, Path

from pipeline.request import CHOICES, LIMITS, Request
from pipeline.service import Service

logging.basicConfig(level=os.environ.get("INDEXTTS_LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s")

QUICK_START_TOKENS = 60  # of a stream: its first segment is kept short, so that sound comes early


def number(name: str, default, description: str):
    """An input with the limits every request is held to."""
    limit = LIMITS[name]
    return Input(default=default, description=description, ge=limit.kind(limit.low), le=limit.kind(limit.high))


def choice(name: str, default, description: str):
    """An input with the choices every request is held to."""
    return Input(default=default, description=description, choices=list(CHOICES[name]))


TEXT = Input(description="What to say: Chinese, English or both. [pause:1.5s] waits; a blank line is a longer pause.")
SPEAKER = Input(description="The voice: 5 to 15 s of clean speech (WAV, FLAC, MP3, OGG, M4A …), or a voice file.")
EMOTION_AUDIO = Input(default=None, description="Emotion from a clip of speech. Give at most one source of emotion.")
EMOTION_VECTOR = Input(default=None, description=(
    "Emotion as weights from 0 to 1: \"happy=0.6, calm=0.2\", or eight numbers for happy, angry, sad, afraid, disgusted, "
    "melancholic, surprised, calm. Biased per emotion and scaled to a sum of at most 0.8."))
EMOTION_TEXT = Input(default=None, description="Emotion described in words, read by a language model.")
EMOTION_FROM_TEXT = Input(default=False, description="Read the emotion from the text itself.")
EMOTION_ALPHA = number("emotion_alpha", 1.0, "Strength of the emotion: 0 is the speaker's own, 1 all of it.")
EMOTION_RANDOM = Input(default=False, description="Take emotion weights from random voices instead of the most similar ones.")
DENOISE = Input(default=False, description="Clean the reference with a speech enhancement model first.")
TRIM = Input(default=True, description="Take silence off both ends of the reference.")
REFERENCE_WINDOW = choice("reference_window", "best", "Of a reference longer than 15 s: its cleanest part, or its beginning.")
LANGUAGE = choice("language", "auto", "How numbers, dates and abbreviations are read.")
GLOSSARY = Input(default=None, description="Readings for terms, one term=reading a line.")
SPEED = number("speed", 1.0, "How fast to speak; the pitch stays.")
SEGMENT_TOKENS = number("segment_tokens", 120, "Most tokens spoken in one go; long texts are cut at sentences.")
SEGMENT_SILENCE_MS = number("segment_silence_ms", 200, "Silence between segments, in milliseconds.")
TEMPERATURE = number("temperature", 0.8, "Randomness of the delivery; 0: always the most likely.")
TOP_P = number("top_p", 0.8, "Sample from the likeliest codes of this total probability.")
TOP_K = number("top_k", 30, "Sample from this many codes at most; 0: no limit.")
NUM_BEAMS = number("num_beams", 3, "Beams of the search; 1 is fastest.")
REPETITION_PENALTY = number("repetition_penalty", 10.0, "How strongly repeated codes are held back.")
LENGTH_PENALTY = number("length_penalty", 0.0, "Above 0 prefers longer, below 0 shorter speech, among beams.")
MAX_MEL_TOKENS = number("max_mel_tokens", 1500, "Most codes per segment, 50 a second.")
DIFFUSION_STEPS = number("diffusion_steps", 25, "Steps from codes to mel; fewer are faster and rougher.")
CFG_RATE = number("cfg_rate", 0.7, "How strongly the mel follows voice and codes.")
SEED = number("seed", None, "The same seed gives the same audio; empty: a random one, which the metrics report.")


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


def request_of(values: dict[str, object], **more) -> Request:
    """The request in the arguments of `predict`. Raises ValueError for files that are none."""
    values = {name: value for name, value in values.items() if name != "self"} | more
    for name in ("speaker", "emotion_audio"):
        values[name] = uploaded(values[name], name)
    if values["speaker"] is None:
        raise ValueError("speaker is missing; give a file of 5 to 15 s of speech")
    return Request(**values)


class _Served(BaseRunner):
    """Set-up and health, which both predictors share."""

    def setup(self) -> None:
        self.service = Service()
        self.service.warm_up()

    def healthcheck(self) -> bool:
        return self.service.healthy()


class Predictor(_Served):
    def predict(
        self,
        text: str = TEXT,
        speaker: Path = SPEAKER,
        emotion_audio: Optional[Path] = EMOTION_AUDIO,
        emotion_vector: Optional[str] = EMOTION_VECTOR,
        emotion_text: Optional[str] = EMOTION_TEXT,
        emotion_from_text: bool = EMOTION_FROM_TEXT,
        emotion_alpha: float = EMOTION_ALPHA,
        emotion_random: bool = EMOTION_RANDOM,
        denoise: bool = DENOISE,
        trim: bool = TRIM,
        reference_window: str = REFERENCE_WINDOW,
        language: str = LANGUAGE,
        glossary: Optional[str] = GLOSSARY,
        speed: float = SPEED,
        segment_tokens: int = SEGMENT_TOKENS,
        segment_silence_ms: int = SEGMENT_SILENCE_MS,
        temperature: float = TEMPERATURE,
        top_p: float = TOP_P,
        top_k: int = TOP_K,
        num_beams: int = NUM_BEAMS,
        repetition_penalty: float = REPETITION_PENALTY,
        length_penalty: float = LENGTH_PENALTY,
        max_mel_tokens: int = MAX_MEL_TOKENS,
        diffusion_steps: int = DIFFUSION_STEPS,
        cfg_rate: float = CFG_RATE,
        seed: Optional[int] = SEED,
        output_format: str = choice("output_format", "wav", "Format of the audio; opus is Opus in Ogg."),
        sample_rate: Optional[int] = choice("sample_rate", None, "Samples a second; empty: 22050, as the model speaks."),
        loudness: Optional[float] = number("loudness", None, "Loudness to reach, in LUFS (-16 is usual); empty: as spoken."),
        return_voice: bool = Input(default=False, description="Also give back the voice file; the output is then a ZIP file."),
        receipt: bool = Input(default=False, description=(
            "Also give a JSON file of how the audio was made; the output is then a ZIP file.")),
        subtitles: str = choice("subtitles", "none", "Also give subtitles; the output is then a ZIP file."),
    ) -> Path:
        result = self.service.run(request_of(locals()))
        for name, value in result.metrics.items():
            self.record_metric(name, value)
        return Path(result.path)


class StreamingPredictor(_Served):
    """WAV files one after another, as server-sent events; their samples joined are the whole."""

    @cog.streaming
    def predict(
        self,
        text: str = TEXT,
        speaker: Path = SPEAKER,
        emotion_audio: Optional[Path] = EMOTION_AUDIO,
        emotion_vector: Optional[str] = EMOTION_VECTOR,
        emotion_text: Optional[str] = EMOTION_TEXT,
        emotion_from_text: bool = EMOTION_FROM_TEXT,
        emotion_alpha: float = EMOTION_ALPHA,
        emotion_random: bool = EMOTION_RANDOM,
        denoise: bool = DENOISE,
        trim: bool = TRIM,
        reference_window: str = REFERENCE_WINDOW,
        language: str = LANGUAGE,
        glossary: Optional[str] = GLOSSARY,
        speed: float = SPEED,
        segment_tokens: int = SEGMENT_TOKENS,
        segment_silence_ms: int = SEGMENT_SILENCE_MS,
        temperature: float = TEMPERATURE,
        top_p: float = TOP_P,
        top_k: int = TOP_K,
        num_beams: int = NUM_BEAMS,
        repetition_penalty: float = REPETITION_PENALTY,
        length_penalty: float = LENGTH_PENALTY,
        max_mel_tokens: int = MAX_MEL_TOKENS,
        diffusion_steps: int = DIFFUSION_STEPS,
        cfg_rate: float = CFG_RATE,
        seed: Optional[int] = SEED,
    ) -> Iterator[Path]:
        for path in self.service.stream(request_of(locals(), quick_start_tokens=QUICK_START_TOKENS)):
            yield Path(path)
