"""From an uploaded file to the Voice or the emotion it gives: read, cleaned, judged, computed once.

The order is window, denoise, trim: what is dropped costs nothing to denoise, and silence is told from
speech better when it is clean.
"""
from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from enhance.denoise import Denoiser
from enhance.report import ReferenceReport, judge
from enhance.trim import trim_silence
from enhance.window import choose_window
from pipeline.audio_input import Audio, read_audio
from pipeline.conditioning.voice import Voice, make_emotion, make_voice
from pipeline.conditioning.voice_file import is_voice_file, read_voice
from pipeline.model import Model

logger = logging.getLogger(__name__)

T = TypeVar("T")


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


class ContentCache:
    """Values by the hash of what they were made of; the least recently used are dropped beyond `capacity`
    bytes. Values have `nbytes`, an attribute or a method."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._values: OrderedDict[str, object] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of `key`, made at its first use."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while self.nbytes() > self.capacity and len(self._values) > 1:
                self._values.popitem(last=False)
        return value

    def peek(self, key: str) -> object | None:
        return self._values.get(key)

    def nbytes(self) -> int:
        return sum(value.nbytes() if callable(value.nbytes) else value.nbytes for value in self._values.values())


class References:
    """Reads references for one model, each content once."""

    def __init__(self, model: Model, denoiser: Denoiser | None = None):
        self.model, self.denoiser = model, denoiser
        self.cache = ContentCache(model.config.reference.cache_bytes)

    def speaker(self, path: Path, options: ReferenceOptions) -> Reference:
        """The speaker of an audio file or a voice file. Raises ValueError saying what is wrong with it."""
        if is_voice_file(path):
            if options.denoise:
                raise ValueError("denoise does not apply to a voice file: it holds no audio any more; "
                                 "denoise when the voice is made")
            return Reference(read_voice(path, self.model), None, "")
        audio = read_audio(path)
        source = hash_samples(audio)

        def make() -> Reference:
            samples, report = self.clean(audio, options)
            for warning in report.warnings:
                logger.debug("reference: %s", warning)
            return Reference(make_voice(self.model, samples, audio.sample_rate), report, source)
        return self.cache.get(self.key("speaker", source, options), make)

    def emotion(self, path: Path, options: ReferenceOptions) -> Tensor:
        """Emotion vector [1, D] of an audio file or of the speaker in a voice file; a clip that is a known
        speaker costs nothing. Raises ValueError."""
        if is_voice_file(path):
            return self.speaker(path, dataclasses.replace(options, denoise=False)).voice.emotion_vector
        audio = read_audio(path)
        source = hash_samples(audio)
        known = self.cache.peek(self.key("speaker", source, options))
        if isinstance(known, Reference):
            return known.voice.emotion_vector
        return self.cache.get(self.key("emotion", source, options), lambda: make_emotion(
            self.model, self.clean(audio, options)[0], audio.sample_rate))

    def clean(self, audio: Audio, options: ReferenceOptions) -> tuple[Tensor, ReferenceReport]:
        """The samples [1, T] to use of a clip, and what can be said of them before denoising."""
        if options.denoise and self.denoiser is None:
            raise ValueError("denoise needs the denoiser's weights (MossFormer2_SE_48K), which this model directory does "
                             "not hold; send the request without denoise")
        limits = self.model.config.reference
        window = choose_window(audio.samples, audio.sample_rate, limits.max_seconds, options.window)
        report, samples = judge(audio, window), audio.samples[:, slice(*window)]
        if options.denoise:
            samples = self.denoiser(samples, audio.sample_rate)
        if options.trim:
            samples = trim_silence(samples, audio.sample_rate, min_seconds=limits.min_seconds)
        return samples, report

    def key(self, kind: str, source: str, options: ReferenceOptions) -> str:
        """Content, options and model: a renamed copy hits, another model misses."""
        return f"{kind}/{source}/{options}/{self.model.fingerprint}"


def hash_samples(audio: Audio) -> str:
    """sha256 of rate and samples, whatever file they came in."""
    digest = hashlib.sha256(str(audio.sample_rate).encode())
    digest.update(audio.samples.contiguous().numpy().tobytes())
    return digest.hexdigest()
