"""From an uploaded file to the Voice or the emotion it gives: read, cleaned, judged, computed once.

The order is window, denoise, trim: what is dropped costs nothing to denoise, and silence is told from
speech better when it is clean.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from enhance.audio_input.read import Audio, read_audio
from enhance.denoise import Denoiser
from enhance.report import ReferenceReport, judge
from enhance.trim import trim_silence
from enhance.window import choose_window
from pipeline.memory import trim
from pipeline.model import Model
from pipeline.timing import OnProgress, no_progress
from pipeline.voice import Voice, make_emotion, make_voice
from pipeline.voice_file import is_voice_file, read_voice
from service.cache import ContentCache

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceOptions:
    """What is done to a clip before it is used."""

    denoise: bool = False
    trim: bool = True
    window: str = "best"

    def __str__(self) -> str:
        return f"denoise={self.denoise}, trim={self.trim}, window={self.window}".lower()


@dataclass(frozen=True)
class Reference:
    """A speaker: the Voice, what can be said of its clip (None for a voice file), and the hash of the
    clip's samples (empty for a voice file)."""

    voice: Voice
    report: ReferenceReport | None
    source_sha256: str

    def nbytes(self) -> int:
        return self.voice.nbytes()


class References:
    """Reads references for one model, each content once."""

    def __init__(self, model: Model, denoiser: Denoiser | None = None):
        self.model, self.denoiser = model, denoiser
        self.cache = ContentCache(model.config.reference.cache_bytes)

    def speaker(
        self, path: Path, options: ReferenceOptions, on_progress: OnProgress = no_progress
    ) -> Reference:
        """The speaker of an audio file or a voice file. Raises ValueError saying what is wrong with it."""
        if is_voice_file(path):
            if options.denoise:
                raise ValueError(
                    "denoise does not apply to a voice file: it holds no audio any more; "
                    "denoise when the voice is made"
                )
            return Reference(read_voice(path, self.model), None, "")
        audio = read_audio(path)
        source = hash_samples(audio)

        def make() -> Reference:
            samples, report = self.clean(audio, options, on_progress)
            for warning in report.warnings:
                logger.debug("reference: %s", warning)
            voice = make_voice(self.model, samples, audio.sample_rate)
            trim()  # what that took is not taken again before the next one
            return Reference(voice, report, source)

        return self.cache.get(self.key("speaker", source, options), make)

    def emotion(self, path: Path, options: ReferenceOptions, on_progress: OnProgress = no_progress) -> Tensor:
        """Emotion vector [1, D] of an audio file or of the speaker in a voice file; a clip that is a known
        speaker costs nothing. Raises ValueError."""
        if is_voice_file(path):
            return self.speaker(path, dataclasses.replace(options, denoise=False)).voice.emotion_vector
        audio = read_audio(path)
        source = hash_samples(audio)
        known = self.cache.peek(self.key("speaker", source, options))
        if isinstance(known, Reference):
            return known.voice.emotion_vector
        return self.cache.get(
            self.key("emotion", source, options),
            lambda: make_emotion(self.model, self.clean(audio, options, on_progress)[0], audio.sample_rate),
        )

    def clean(
        self, audio: Audio, options: ReferenceOptions, on_progress: OnProgress = no_progress
    ) -> tuple[Tensor, ReferenceReport]:
        """The samples [1, T] to use of a clip, and what can be said of them before denoising; a step of progress
        before each thing that is done."""
        if options.denoise and self.denoiser is None:
            raise ValueError(
                f"denoise needs the denoiser {self.model.config.reference.denoiser}, which is not loaded: the model "
                "directory does not hold its weights, or INDEXTTS_FEATURES leaves denoise out; send the request "
                "without denoise"
            )
        limits = self.model.config.reference
        on_progress("report", 0, 1)
        window = choose_window(audio.samples, audio.sample_rate, limits.max_seconds, options.window)
        report, samples = judge(audio, window), audio.samples[:, slice(*window)]
        if options.denoise and self.denoiser is not None:
            on_progress("denoise", 0, 1)
            samples = self.denoiser(samples, audio.sample_rate)
        if options.trim:
            samples = trim_silence(samples, audio.sample_rate, min_seconds=limits.min_seconds)
        on_progress("voice", 0, 1)
        return samples, report

    def key(self, kind: str, source: str, options: ReferenceOptions) -> str:
        """Content, options and model: a renamed copy hits, another model misses."""
        return f"{kind}/{source}/{options}/{self.model.fingerprint}/{self.model.precision}"


def hash_samples(audio: Audio) -> str:
    """sha256 of rate and samples, whatever file they came in."""
    digest = hashlib.sha256(str(audio.sample_rate).encode())
    digest.update(
        audio.samples[0].contiguous().numpy().data
    )  # the array itself: its bytes would be a second copy
    return digest.hexdigest()
