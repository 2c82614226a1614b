"""Cog predictors for IndexTTS2: text and a few seconds of a voice in, that voice saying the text out.

`Predictor` returns a file, `StreamingPredictor` the segments as they are done, `ConcurrentPredictor` files of several
requests at a time. All are shells over `service.service`; importing this module imports everything a request needs.

Cog reads the inputs off this file without running it: each is one literal `Input(…)` of `Inputs`, its description one
literal on one line. Their limits and choices are those of `service.request`, which a test compares.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path as LocalPath
from typing import Optional

import cog
from cog import BaseRunner, Input, Path

from service.imports import ALL, NEEDED
from service.request import Request
from service.result import Result
from service.service import Service
from service.settings import Settings
from service.workspace import KEPT_SECONDS, Inbox, Workspace

TEMPORARY = os.path.realpath(tempfile.gettempdir())  # where Cog puts the files it is sent
QUICK_START_TOKENS = 60  # of a stream: its first segment is kept short, so that sound comes early

FILES = ("speaker", "source_audio", "adapter", "emotion_audio")


class Inputs:
    """Every input of the predictors, once. Empty is the served model's own where it says so; the figure is IndexTTS2's."""

    text = Input(
        default=None,
        description="What to say: Chinese, English or both; with IndexTTS-2.5 also Japanese, Spanish or Arabic. [pause:1.5s] waits; a blank line is a longer pause; [voice:NAME] changes the speaker.",
    )
    speaker = Input(
        description="The voice: 5 to 15 s of clean speech (WAV, FLAC, MP3, OGG, M4A …), a voice file, or a ZIP file of several, each under its NAME."
    )
    source_audio = Input(
        default=None,
        description="Instead of text: speech to say again in the speaker's voice, with its own timing. At most 10 minutes.",
    )
    adapter = Input(
        default=None,
        description="What a training gave back (train.py): its archive, or the adapter.safetensors in it.",
    )
    emotion_audio = Input(
        default=None, description="Emotion from a clip of speech. Give at most one source of emotion."
    )
    emotion_vector = Input(
        default=None,
        description="Emotion as weights from 0 to 1: 'happy=0.6, calm=0.2', or eight numbers for happy, angry, sad, afraid, disgusted, melancholic, surprised, calm. Biased per emotion and scaled to a sum of at most 0.8.",
    )
    emotion_text = Input(default=None, description="Emotion described in words, read by a language model.")
    emotion_from_text = Input(default=False, description="Read the emotion from the text itself.")
    emotion_alpha = Input(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="Strength of the emotion: 0 is the speaker's own, 1 all of it.",
    )
    emotion_random = Input(
        default=False, description="Take emotion weights from random voices instead of the most similar ones."
    )
    denoise = Input(default=False, description="Clean the reference with a speech enhancement model first.")
    trim = Input(default=True, description="Take silence off both ends of the reference.")
    reference_window = Input(
        default="best",
        choices=["best", "first"],
        description="Of a reference longer than 15 s: its cleanest part, or its beginning.",
    )
    language = Input(
        default="auto",
        choices=["auto", "zh", "en", "ja", "es", "ar"],
        description="Language of the text: how numbers, dates and abbreviations are read, and spoken by IndexTTS-2.5. IndexTTS-2 has zh and en; auto: by the text.",
    )
    glossary = Input(default=None, description="Readings for terms, one term=reading a line.")
    speed = Input(default=1.0, ge=0.5, le=2.0, description="How fast to speak; the pitch stays.")
    duration = Input(
        default=None,
        ge=0.1,
        le=3600.0,
        description="Seconds the result is to last, exactly: half to twice its natural length. Empty: as it comes.",
    )
    segment_tokens = Input(
        default=None,
        ge=20,
        le=600,
        description="Most tokens spoken in one go; long texts are cut at sentences. Empty: the model's own, 120 for IndexTTS2.",
    )
    segment_silence_ms = Input(
        default=None,
        ge=0,
        le=5000,
        description="Silence between segments, in milliseconds. Empty: the model's own, 200 for IndexTTS2.",
    )
    temperature = Input(
        default=None,
        ge=0.0,
        le=2.0,
        description="Randomness of the delivery; 0: always the most likely. Empty: the model's own, 0.8 for IndexTTS2.",
    )
    top_p = Input(
        default=None,
        ge=0.01,
        le=1.0,
        description="Sample from the likeliest codes of this total probability. Empty: the model's own, 0.8 for IndexTTS2.",
    )
    top_k = Input(
        default=None,
        ge=0,
        le=1000,
        description="Sample from this many codes at most; 0: no limit. Empty: the model's own, 30 for IndexTTS2.",
    )
    num_beams = Input(
        default=None,
        ge=1,
        le=8,
        description="Beams of the search; 1 is fastest. Empty: the model's own, 3 for IndexTTS2.",
    )
    repetition_penalty = Input(
        default=None,
        ge=1.0,
        le=20.0,
        description="How strongly repeated codes are held back. Empty: the model's own, 10 for IndexTTS2.",
    )
    length_penalty = Input(
        default=None,
        ge=-5.0,
        le=5.0,
        description="Above 0 prefers longer, below 0 shorter speech, among beams. Empty: the model's own, 0 for IndexTTS2.",
    )
    max_mel_tokens = Input(
        default=None,
        ge=50,
        le=1815,
        description="Most codes per segment, 50 a second (25 with IndexTTS-2.5). Empty: the model's own, 1500 for IndexTTS2.",
    )
    diffusion_steps = Input(
        default=None,
        ge=1,
        le=100,
        description="Steps from codes to mel; fewer are faster and rougher. Empty: the model's own, 25 for IndexTTS2.",
    )
    cfg_rate = Input(
        default=None,
        ge=0.0,
        le=2.0,
        description="How strongly the mel follows voice and codes. Empty: the model's own, 0.7 for IndexTTS2.",
    )
    seed = Input(
        default=None,
        ge=0,
        le=4294967295,
        description="The same seed gives the same audio; empty: a random one, which the metrics report.",
    )
    output_format = Input(
        default="wav",
        choices=["wav", "flac", "mp3", "ogg", "opus"],
        description="Format of the audio; opus is Opus in Ogg.",
    )
    sample_rate = Input(
        default=None,
        choices=[8000, 16000, 22050, 24000, 44100, 48000],
        description="Samples a second; empty: 22050, as the model speaks.",
    )
    loudness = Input(
        default=None,
        ge=-40.0,
        le=-8.0,
        description="Loudness to reach, in LUFS (-16 is usual); empty: as spoken.",
    )
    return_voice = Input(
        default=False, description="Also give back the voice file; the output is then a ZIP file."
    )
    receipt = Input(
        default=False,
        description="Also give a JSON file of how the audio was made; the output is then a ZIP file.",
    )
    stream = Input(
        default="segments",
        choices=["segments", "chunks"],
        description="Parts of a stream: whole segments, the bytes of the file; or chunks, the first after half a second of speech, one beam.",
    )
    subtitles = Input(
        default="none",
        choices=["none", "srt", "vtt"],
        description="Also give subtitles; the output is then a ZIP file.",
    )


def uploaded(value: object, name: str) -> Optional[LocalPath]:
    """The file Cog made of a file input, or None. A string is never opened: the server passes strings
    that are no URL through as they came. Raises ValueError."""
    if value is None:
        return None
    allowed = "send the file as a data URI or an http(s) URL"
    if not isinstance(value, LocalPath):
        raise ValueError(f"{name} is not a file; {allowed}")
    path = LocalPath(value)
    if os.path.commonpath([TEMPORARY, os.path.realpath(path)]) != TEMPORARY:
        raise ValueError(f"{name} is not an uploaded file; {allowed}")
    return path


class _Served(BaseRunner):
    """What the predictors share: set-up, health, and the request in the arguments of `predict`."""

    waits_for_others = False  # other requests may be running

    def setup(self) -> None:
        self.load(ALL)
        self.service.warm_up()
        self.workspace = Workspace(KEPT_SECONDS if self.waits_for_others else 0.0)
        self.inbox = Inbox().open()  # last: whatever Cog makes of a request comes later

    def setup_once(self) -> None:
        """What one request of a command needs of `setup`: no warm-up, no package that it may not use."""
        self.load(NEEDED)
        self.workspace = Workspace()
        self.inbox = Inbox().open()

    def load(self, packages: Sequence[str]) -> None:
        settings = Settings.read()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s")
        self.service = Service(settings, packages)

    def healthcheck(self) -> bool:
        return self.service.healthy()

    def request(self, values: dict[str, object], **more) -> Request:
        """The request in the arguments of `predict`; files of earlier requests go. Raises ValueError for files
        that are none."""
        values = {name: value for name, value in values.items() if name != "self"} | more
        files = {name: uploaded(values[name], name) for name in FILES}
        seconds = self.service.settings.time_limit + KEPT_SECONDS if self.waits_for_others else 0.0
        self.inbox.clear([path for path in files.values() if path], seconds)
        if files["speaker"] is None:
            raise ValueError("speaker is missing; give a file of 5 to 15 s of speech")
        return Request(**values | files)

    def answer(self, result: Result) -> Path:
        """The file of a result; what there is to tell of it goes into the metrics."""
        for name, value in result.metrics.items():
            self.record_metric(name, value)
        return Path(result.path)


class Predictor(_Served):
    def predict(
        self,
        text: Optional[str] = Inputs.text,
        speaker: Path = Inputs.speaker,
        source_audio: Optional[Path] = Inputs.source_audio,
        adapter: Optional[Path] = Inputs.adapter,
        emotion_audio: Optional[Path] = Inputs.emotion_audio,
        emotion_vector: Optional[str] = Inputs.emotion_vector,
        emotion_text: Optional[str] = Inputs.emotion_text,
        emotion_from_text: bool = Inputs.emotion_from_text,
        emotion_alpha: float = Inputs.emotion_alpha,
        emotion_random: bool = Inputs.emotion_random,
        denoise: bool = Inputs.denoise,
        trim: bool = Inputs.trim,
        reference_window: str = Inputs.reference_window,
        language: str = Inputs.language,
        glossary: Optional[str] = Inputs.glossary,
        speed: float = Inputs.speed,
        duration: Optional[float] = Inputs.duration,
        segment_tokens: Optional[int] = Inputs.segment_tokens,
        segment_silence_ms: Optional[int] = Inputs.segment_silence_ms,
        temperature: Optional[float] = Inputs.temperature,
        top_p: Optional[float] = Inputs.top_p,
        top_k: Optional[int] = Inputs.top_k,
        num_beams: Optional[int] = Inputs.num_beams,
        repetition_penalty: Optional[float] = Inputs.repetition_penalty,
        length_penalty: Optional[float] = Inputs.length_penalty,
        max_mel_tokens: Optional[int] = Inputs.max_mel_tokens,
        diffusion_steps: Optional[int] = Inputs.diffusion_steps,
        cfg_rate: Optional[float] = Inputs.cfg_rate,
        seed: Optional[int] = Inputs.seed,
        output_format: str = Inputs.output_format,
        sample_rate: Optional[int] = Inputs.sample_rate,
        loudness: Optional[float] = Inputs.loudness,
        return_voice: bool = Inputs.return_voice,
        receipt: bool = Inputs.receipt,
        subtitles: str = Inputs.subtitles,
    ) -> Path:
        request = self.request(locals())
        with self.workspace.fresh() as folder:
            result = self.service.run(request, folder)
        return self.answer(result)


class ConcurrentPredictor(_Served):
    """As `Predictor`, several requests at a time: their segments are made together."""

    waits_for_others = True

    @cog.concurrent(max=8)
    async def predict(
        self,
        text: Optional[str] = Inputs.text,
        speaker: Path = Inputs.speaker,
        source_audio: Optional[Path] = Inputs.source_audio,
        adapter: Optional[Path] = Inputs.adapter,
        emotion_audio: Optional[Path] = Inputs.emotion_audio,
        emotion_vector: Optional[str] = Inputs.emotion_vector,
        emotion_text: Optional[str] = Inputs.emotion_text,
        emotion_from_text: bool = Inputs.emotion_from_text,
        emotion_alpha: float = Inputs.emotion_alpha,
        emotion_random: bool = Inputs.emotion_random,
        denoise: bool = Inputs.denoise,
        trim: bool = Inputs.trim,
        reference_window: str = Inputs.reference_window,
        language: str = Inputs.language,
        glossary: Optional[str] = Inputs.glossary,
        speed: float = Inputs.speed,
        duration: Optional[float] = Inputs.duration,
        segment_tokens: Optional[int] = Inputs.segment_tokens,
        segment_silence_ms: Optional[int] = Inputs.segment_silence_ms,
        temperature: Optional[float] = Inputs.temperature,
        top_p: Optional[float] = Inputs.top_p,
        top_k: Optional[int] = Inputs.top_k,
        num_beams: Optional[int] = Inputs.num_beams,
        repetition_penalty: Optional[float] = Inputs.repetition_penalty,
        length_penalty: Optional[float] = Inputs.length_penalty,
        max_mel_tokens: Optional[int] = Inputs.max_mel_tokens,
        diffusion_steps: Optional[int] = Inputs.diffusion_steps,
        cfg_rate: Optional[float] = Inputs.cfg_rate,
        seed: Optional[int] = Inputs.seed,
        output_format: str = Inputs.output_format,
        sample_rate: Optional[int] = Inputs.sample_rate,
        loudness: Optional[float] = Inputs.loudness,
        return_voice: bool = Inputs.return_voice,
        receipt: bool = Inputs.receipt,
        subtitles: str = Inputs.subtitles,
    ) -> Path:
        request = self.request(locals())
        job = self.service.engine.submit(request)
        parts = [part async for part in job]
        with self.workspace.fresh() as folder:
            result = await asyncio.to_thread(self.service.write, folder, job.prepared, parts)
        return self.answer(result)


class StreamingPredictor(_Served):
    """WAV files one after another, as server-sent events; their samples joined are the whole."""

    @cog.streaming
    def predict(
        self,
        text: Optional[str] = Inputs.text,
        speaker: Path = Inputs.speaker,
        source_audio: Optional[Path] = Inputs.source_audio,
        adapter: Optional[Path] = Inputs.adapter,
        emotion_audio: Optional[Path] = Inputs.emotion_audio,
        emotion_vector: Optional[str] = Inputs.emotion_vector,
        emotion_text: Optional[str] = Inputs.emotion_text,
        emotion_from_text: bool = Inputs.emotion_from_text,
        emotion_alpha: float = Inputs.emotion_alpha,
        emotion_random: bool = Inputs.emotion_random,
        denoise: bool = Inputs.denoise,
        trim: bool = Inputs.trim,
        reference_window: str = Inputs.reference_window,
        language: str = Inputs.language,
        glossary: Optional[str] = Inputs.glossary,
        speed: float = Inputs.speed,
        duration: Optional[float] = Inputs.duration,
        segment_tokens: Optional[int] = Inputs.segment_tokens,
        segment_silence_ms: Optional[int] = Inputs.segment_silence_ms,
        temperature: Optional[float] = Inputs.temperature,
        top_p: Optional[float] = Inputs.top_p,
        top_k: Optional[int] = Inputs.top_k,
        num_beams: Optional[int] = Inputs.num_beams,
        repetition_penalty: Optional[float] = Inputs.repetition_penalty,
        length_penalty: Optional[float] = Inputs.length_penalty,
        max_mel_tokens: Optional[int] = Inputs.max_mel_tokens,
        diffusion_steps: Optional[int] = Inputs.diffusion_steps,
        cfg_rate: Optional[float] = Inputs.cfg_rate,
        seed: Optional[int] = Inputs.seed,
        stream: str = Inputs.stream,
    ) -> Iterator[Path]:
        values = {name: value for name, value in locals().items() if name != "stream"}
        request = self.request(values, quick_start_tokens=QUICK_START_TOKENS)
        with self.workspace.fresh() as folder:
            for path in self.service.stream(request, folder, stream):
                yield Path(path)
