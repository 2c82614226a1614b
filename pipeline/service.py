"""The service without its server: load a model once, answer requests one at a time.

`predict.py` is a Cog shell over this.
"""
from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from enhance.denoise import Denoiser, denoiser_available
from pipeline.audio import write_wav
from pipeline.catalog import DEFAULT_MODEL, MODEL_VARIABLE, locate, wanted_features
from pipeline.conditioning.emotion import blend, from_weights, parse_weights, temper
from pipeline.conditioning.emotion_text import EmotionReader
from pipeline.conditioning.voice import Voice
from pipeline.deterministic import tone
from pipeline.model import Model, load_model
from pipeline.reference import References
from pipeline.request import Request
from pipeline.synthesize import Synthesizer, join
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import prepare_text
from pipeline.text.tokenize import Tokenizer
from pipeline.timing import Stopwatch

logger = logging.getLogger(__name__)

WARM_UP_TEXT = "Hello."
WARM_UP_SECONDS, WARM_UP_RATE = 2.0, 16000
OUTPUT_NAME = "output.wav"


@dataclass(frozen=True)
class Result:
    """path: the WAV file; metrics: what `record_metric` takes, by name."""
    path: Path
    metrics: dict[str, object]


class Workspace:
    """A temporary folder per request. What was returned is read after the request ends, so a folder is
    removed when the next one is asked for, at the latest when the process ends."""

    def __init__(self):
        self.folder: Path | None = None
        atexit.register(self.clear)

    def renew(self) -> Path:
        self.clear()
        self.folder = Path(tempfile.mkdtemp(prefix="indextts-"))
        return self.folder

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


class Service:
    """One model, ready to speak. Raises ConfigError, WeightsError or CheckpointError when it cannot be had
    or loaded."""

    def __init__(self, model: str | None = None):
        name = model or os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
        features = wanted_features()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        start = time.perf_counter()
        with locate(name) as source:
            logger.info("model %s: %s", source.config.name, source.config.description)
            self.model: Model = load_model(source.directory, source.config, device)
            self.tokenizer = Tokenizer(source.directory / "bpe.model")
            self.normalizer = TextNormalizer()
            self.denoiser = (Denoiser(source.directory, device)
                             if "denoise" in features and denoiser_available(source.directory) else None)
            self.emotion_reader = (EmotionReader(source.directory, source.config.emotion, device)
                                   if "emotion_text" in features and EmotionReader.available(source.directory) else None)
        self.check_vocabulary()
        self.normalizer.warm_up()
        self.synthesizer = Synthesizer(self.model)
        self.references = References(self.model, self.denoiser)
        self.workspace = Workspace()
        self.load_seconds = time.perf_counter() - start
        self.load_bytes = sum(load.bytes for load in self.model.loads)
        logger.info("loaded %.0f MB on %s in %.1f s", self.load_bytes / 1e6, device, self.load_seconds)

    def check_vocabulary(self) -> None:
        pieces, room = self.tokenizer.vocabulary_size, self.model.config.gpt.number_text_tokens
        if pieces > room:
            raise ValueError(f"bpe.model has {pieces} pieces; the GPT has text embeddings for {room}")

    def warm_up(self) -> None:
        """One short synthesis, so that the first request pays for no first use."""
        with tempfile.TemporaryDirectory(prefix="indextts-") as folder:
            path = Path(folder) / "warm-up.wav"
            write_wav(path, tone("warm-up", WARM_UP_SECONDS, WARM_UP_RATE)[0], WARM_UP_RATE)
            self.run(Request(text=WARM_UP_TEXT, speaker=path, max_mel_tokens=50, diffusion_steps=1, seed=0))
        self.workspace.clear()
        self.references = References(self.model, self.denoiser)

    def run(self, request: Request) -> Result:
        """Speak `request`. Raises ValueError, in one line, for anything the caller can put right."""
        folder = self.workspace.renew()
        try:
            return self._run(request.checked(), folder)
        except BaseException:  # a cancellation is one
            self.workspace.clear()
            raise

    def _run(self, request: Request, folder: Path) -> Result:
        options = request.synthesis(self.model.config.synthesis)
        stopwatch = Stopwatch(self.model.device)
        start = time.perf_counter()
        with stopwatch("text"):
            texts = prepare_text(request.text, self.normalizer, self.tokenizer, language="auto",
                                 max_segment_tokens=options.segment_tokens, quick_start_tokens=0)
        with stopwatch("voice"):
            reference = self.references.speaker(request.speaker, request.reference_options())
            voice = reference.voice
        with stopwatch("emotion"):
            emotion = self.emotion_vector(request, voice)
        segments = list(self.synthesizer.segments(texts, voice, emotion, options, request.seed, stopwatch))
        wave = join([segment.wave for segment in segments], options.segment_silence_ms, self.synthesizer.sample_rate)
        if not len(wave):
            raise ValueError("the model made no sound of this text; try another seed or another reference")
        path = folder / OUTPUT_NAME
        with stopwatch("write"):
            write_wav(path, wave, self.synthesizer.sample_rate)
        seconds, elapsed = len(wave) / self.synthesizer.sample_rate, time.perf_counter() - start
        metrics = {f"timing.{stage}": round(value, 4) for stage, value in stopwatch.seconds.items()}
        metrics |= {"audio_seconds": round(seconds, 3), "real_time_factor": round(elapsed / seconds, 3),
                    "seed": request.seed, "segments": len(segments), "codes": sum(s.codes for s in segments),
                    "reached_end_of_speech": all(s.stopped for s in segments)}
        metrics |= {"setup.seconds": round(self.load_seconds, 2), "setup.bytes": self.load_bytes}
        if reference.report is not None:
            metrics |= {f"reference.{name}": value for name, value in reference.report.metrics().items()}
            metrics["warnings"] = reference.report.warnings
        logger.info("%.2f s of audio in %.2f s (real-time factor %.2f), seed %d", seconds, elapsed, elapsed / seconds,
                    request.seed)
        return Result(path, metrics)

    def emotion_vector(self, request: Request, voice: Voice) -> Tensor:
        """The vector [1, D] of the request's one emotion source; the voice's own without any."""
        config = self.model.config.emotion
        if request.emotion_audio is not None:
            other = self.references.emotion(request.emotion_audio, request.reference_options())
            return blend(voice.emotion_vector, other, request.emotion_alpha)
        if request.emotion_vector is not None:
            weights = temper(parse_weights(request.emotion_vector, config), config)
        elif request.emotion_text is not None:
            if self.emotion_reader is None:
                raise ValueError("emotion_text needs the text emotion model, which this model directory does not hold; "
                                 "use emotion_vector or emotion_audio")
            weights = temper(self.emotion_reader.weights(request.emotion_text), config)
        else:
            return voice.emotion_vector
        scaled = [request.emotion_alpha * weight for weight in weights]
        return from_weights(scaled, voice.emotion_vector, voice.style, self.model.speaker_matrix,
                            self.model.emotion_matrix, config)
