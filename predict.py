"""Cog predictors for IndexTTS2: text and a few seconds of a voice in, that voice saying the text out.

`Predictor` returns a file, `StreamingPredictor` the segments as they are done. Both are shells over
`service.service`; importing this module imports everything a request needs.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path as LocalPath
from typing import Optional

import cog
from cog import BaseRunner, Input, Path

from pipeline.config import load_config
from service.request import CHOICES, LIMITS, Request
from service.service import Service
from service.workspace import Inbox

logging.basicConfig(
    level=os.environ.get("INDEXTTS_LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s"
)

TEMPORARY = os.path.realpath(tempfile.gettempdir())  # where Cog puts the files it is sent
PUBLISHED = load_config("indextts2").synthesis
QUICK_START_TOKENS = 60  # of a stream: its first segment is kept short, so that sound comes early


def number(name: str, default, description: str):
    """An input with the limits every request is held to."""
    limit = LIMITS[name]
    return Input(
        default=default, description=description, ge=limit.kind(limit.low), le=limit.kind(limit.high)
    )


def model_number(name: str, description: str):
    """An input that is the served model's own when it is empty; the form names IndexTTS2's."""
    return number(
        name, None, f"{description} Empty: the model's own, {getattr(PUBLISHED, name):g} for IndexTTS2."
    )


def choice(name: str, default, description: str):
    """An input with the choices every request is held to."""
    return Input(default=default, description=description, choices=list(CHOICES[name]))


TEXT = Input(
    description="What to say: Chinese, English or both. [pause:1.5s] waits; a blank line is a longer pause."
)
SPEAKER = Input(
    description="The voice: 5 to 15 s of clean speech (WAV, FLAC, MP3, OGG, M4A …), or a voice file."
)
EMOTION_AUDIO = Input(
    default=None, description="Emotion from a clip of speech. Give at most one source of emotion."
)
EMOTION_VECTOR = Input(
    default=None,
    description=(
        'Emotion as weights from 0 to 1: "happy=0.6, calm=0.2", or eight numbers for happy, angry, sad, afraid, disgusted, '
        "melancholic, surprised, calm. Biased per emotion and scaled to a sum of at most 0.8."
    ),
)
EMOTION_TEXT = Input(default=None, description="Emotion described in words, read by a language model.")
EMOTION_FROM_TEXT = Input(default=False, description="Read the emotion from the text itself.")
EMOTION_ALPHA = number("emotion_alpha", 1.0, "Strength of the emotion: 0 is the speaker's own, 1 all of it.")
EMOTION_RANDOM = Input(
    default=False, description="Take emotion weights from random voices instead of the most similar ones."
)
DENOISE = Input(default=False, description="Clean the reference with a speech enhancement model first.")
TRIM = Input(default=True, description="Take silence off both ends of the reference.")
REFERENCE_WINDOW = choice(
    "reference_window", "best", "Of a reference longer than 15 s: its cleanest part, or its beginning."
)
LANGUAGE = choice("language", "auto", "How numbers, dates and abbreviations are read.")
GLOSSARY = Input(default=None, description="Readings for terms, one term=reading a line.")
SPEED = number("speed", 1.0, "How fast to speak; the pitch stays.")
SEGMENT_TOKENS = model_number(
    "segment_tokens", "Most tokens spoken in one go; long texts are cut at sentences."
)
SEGMENT_SILENCE_MS = number("segment_silence_ms", 200, "Silence between segments, in milliseconds.")
TEMPERATURE = model_number("temperature", "Randomness of the delivery; 0: always the most likely.")
TOP_P = model_number("top_p", "Sample from the likeliest codes of this total probability.")
TOP_K = model_number("top_k", "Sample from this many codes at most; 0: no limit.")
NUM_BEAMS = model_number("num_beams", "Beams of the search; 1 is fastest.")
REPETITION_PENALTY = model_number("repetition_penalty", "How strongly repeated codes are held back.")
LENGTH_PENALTY = model_number(
    "length_penalty", "Above 0 prefers longer, below 0 shorter speech, among beams."
)
MAX_MEL_TOKENS = model_number("max_mel_tokens", "Most codes per segment, 50 a second.")
DIFFUSION_STEPS = model_number("diffusion_steps", "Steps from codes to mel; fewer are faster and rougher.")
CFG_RATE = model_number("cfg_rate", "How strongly the mel follows voice and codes.")
SEED = number(
    "seed", None, "The same seed gives the same audio; empty: a random one, which the metrics report."
)


def uploaded(value: object, name: str) -> Optional[LocalPath]:
    """The file Cog made of a file input, or None. A string is never opened: the server passes strings
    that are no URL through as they came. Raises ValueError."""
    if value is None:
        return None
    allowed = "send the file as a data URI or an http(s) URL"
    if not isinstance(value, LocalPath):
        raise ValueError(f"{name} is not a file; {allowed}")
    path = LocalPath(value)  # fetches a URL
    if os.path.commonpath([TEMPORARY, os.path.realpath(path)]) != TEMPORARY:
        raise ValueError(f"{name} is not an uploaded file; {allowed}")
    return path


class _Served(BaseRunner):
    """What both predictors share: set-up, health, and the request in the arguments of `predict`."""

    def setup(self) -> None:
        self.service = Service()
        self.service.warm_up()
        self.inbox = Inbox()  # last: whatever Cog makes of a request comes later

    def healthcheck(self) -> bool:
        return self.service.healthy()

    def request(self, values: dict[str, object], **more) -> Request:
        """The request in the arguments of `predict`; files of earlier requests go. Raises ValueError for files
        that are none."""
        values = {name: value for name, value in values.items() if name != "self"} | more
        files = {name: uploaded(values[name], name) for name in ("speaker", "emotion_audio")}
        self.inbox.clear(keep=[path for path in files.values() if path])
        if files["speaker"] is None:
            raise ValueError("speaker is missing; give a file of 5 to 15 s of speech")
        return Request(**values | files)


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
        segment_tokens: Optional[int] = SEGMENT_TOKENS,
        segment_silence_ms: int = SEGMENT_SILENCE_MS,
        temperature: Optional[float] = TEMPERATURE,
        top_p: Optional[float] = TOP_P,
        top_k: Optional[int] = TOP_K,
        num_beams: Optional[int] = NUM_BEAMS,
        repetition_penalty: Optional[float] = REPETITION_PENALTY,
        length_penalty: Optional[float] = LENGTH_PENALTY,
        max_mel_tokens: Optional[int] = MAX_MEL_TOKENS,
        diffusion_steps: Optional[int] = DIFFUSION_STEPS,
        cfg_rate: Optional[float] = CFG_RATE,
        seed: Optional[int] = SEED,
        output_format: str = choice("output_format", "wav", "Format of the audio; opus is Opus in Ogg."),
        sample_rate: Optional[int] = choice(
            "sample_rate", None, "Samples a second; empty: 22050, as the model speaks."
        ),
        loudness: Optional[float] = number(
            "loudness", None, "Loudness to reach, in LUFS (-16 is usual); empty: as spoken."
        ),
        return_voice: bool = Input(
            default=False, description="Also give back the voice file; the output is then a ZIP file."
        ),
        receipt: bool = Input(
            default=False,
            description=("Also give a JSON file of how the audio was made; the output is then a ZIP file."),
        ),
        subtitles: str = choice("subtitles", "none", "Also give subtitles; the output is then a ZIP file."),
    ) -> Path:
        result = self.service.run(self.request(locals()))
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
        segment_tokens: Optional[int] = SEGMENT_TOKENS,
        segment_silence_ms: int = SEGMENT_SILENCE_MS,
        temperature: Optional[float] = TEMPERATURE,
        top_p: Optional[float] = TOP_P,
        top_k: Optional[int] = TOP_K,
        num_beams: Optional[int] = NUM_BEAMS,
        repetition_penalty: Optional[float] = REPETITION_PENALTY,
        length_penalty: Optional[float] = LENGTH_PENALTY,
        max_mel_tokens: Optional[int] = MAX_MEL_TOKENS,
        diffusion_steps: Optional[int] = DIFFUSION_STEPS,
        cfg_rate: Optional[float] = CFG_RATE,
        seed: Optional[int] = SEED,
    ) -> Iterator[Path]:
        for path in self.service.stream(self.request(locals(), quick_start_tokens=QUICK_START_TOKENS)):
            yield Path(path)
