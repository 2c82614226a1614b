"""The service without its server: load a model once, answer requests one at a time.

`predict.py` is a Cog shell over this.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from enhance.denoise import load_denoiser
from pipeline.audio import write_wav
from pipeline.conditioning.emotion import blend, from_weights, parse_weights, temper
from pipeline.conditioning.emotion_text import MAX_CHARACTERS, EmotionReader
from pipeline.config import SynthesisConfig
from pipeline.deterministic import tone
from pipeline.model import Model, load_model
from pipeline.synthesize import Synthesizer
from pipeline.text.glossary import Glossary
from pipeline.text.markup import Pause
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import TextSegment
from pipeline.text.script import prepare_script
from pipeline.text.tokenize import Tokenizer
from pipeline.timing import Stopwatch
from pipeline.voice import Voice
from service.budget import Budget, time_limit
from service.catalog import DEFAULT_MODEL, MODEL_VARIABLE, locate, wanted_features
from service.finish.segment import chunks
from service.reference import Reference, References
from service.request import Request
from service.result import Part, Result, write_result
from service.speak import Spoken, speak
from service.workspace import Workspace

logger = logging.getLogger(__name__)

WARM_UP_TEXT = "Hello."
WARM_UP_SECONDS, WARM_UP_RATE = 2.0, 16000
CHECK_CODES, CHECK_STEPS = 2, 1  # of a health check


@dataclass(frozen=True)
class Prepared:
    """A request ready to be spoken."""

    request: Request
    options: SynthesisConfig
    script: Sequence[TextSegment | Pause]
    reference: Reference
    emotion_vector: Tensor
    stopwatch: Stopwatch
    budget: Budget
    started: float


class Service:
    """One model, ready to speak. Raises ConfigError, WeightsError or CheckpointError when it cannot be had
    or loaded."""

    def __init__(self, model: str | None = None):
        name = model or os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
        features = wanted_features()
        self.time_limit = time_limit()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        start = time.perf_counter()
        with locate(name) as source:
            logger.info("model %s: %s", source.config.name, source.config.description)
            self.model: Model = load_model(source.directory, source.config, device)
            self.tokenizer = Tokenizer(source.directory / "bpe.model")
            glossary = source.directory / "glossary.yaml"
            self.glossary = Glossary.from_file(glossary) if glossary.is_file() else Glossary()
            self.denoiser = (
                load_denoiser(source.config.reference.denoiser, source.directory, device)
                if "denoise" in features
                else None
            )
            self.emotion_reader = (
                EmotionReader(source.directory, source.config.emotion, device)
                if "emotion_text" in features and EmotionReader.available(source.directory)
                else None
            )
        self.check_vocabulary()
        TextNormalizer().warm_up()
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

    def warm_up(self, codes: int = 50) -> None:
        """One short synthesis that leaves nothing behind: before the first request, so that it pays for no
        first use, and as a health check."""
        with tempfile.TemporaryDirectory(prefix="indextts-") as folder:
            path = Path(folder) / "warm-up.wav"
            write_wav(path, tone("warm-up", WARM_UP_SECONDS, WARM_UP_RATE)[0], WARM_UP_RATE)
            reference = References(self.model).speaker(path, Request(WARM_UP_TEXT, path).reference_options())
        script = prepare_script(WARM_UP_TEXT, TextNormalizer(), self.tokenizer)
        self.say_briefly(script[0], reference.voice, codes)
        self.warm_voice = reference.voice

    def say_briefly(self, text: TextSegment, voice: Voice, codes: int) -> Tensor:
        """A wave of at most `codes` codes in as few steps as there can be."""
        request = Request(text.text, Path(), num_beams=1, diffusion_steps=CHECK_STEPS, max_mel_tokens=codes)
        return self.synthesizer.segment(
            text,
            voice,
            voice.emotion_vector,
            request.synthesis(self.model.config.synthesis),
            0,
            Stopwatch(self.model.device),
        ).wave

    def healthy(self) -> bool:
        """Whether two codes still become finite sound."""
        text = prepare_script(WARM_UP_TEXT, TextNormalizer(), self.tokenizer)[0]
        wave = self.say_briefly(text, self.warm_voice, CHECK_CODES)
        return bool(torch.isfinite(wave).all())

    def run(self, request: Request) -> Result:
        """Speak `request` into a file. Raises ValueError, in one line, for anything the caller can put right."""
        folder = self.workspace.renew()
        try:
            prepared = self.prepare(request)
            parts = [Part(chunk, spoken) for chunk, spoken in self.parts(prepared)]
            return write_result(
                folder,
                self.model,
                prepared.request,
                prepared.reference,
                parts,
                prepared.stopwatch,
                prepared.started,
                {"setup.seconds": round(self.load_seconds, 2), "setup.bytes": self.load_bytes},
            )
        except BaseException:  # a cancellation is one
            self.workspace.clear()
            raise

    def stream(self, request: Request) -> Iterator[Path]:
        """Speak `request` as WAV files, one per segment as soon as it is done; their samples one after
        another are those of `run`'s file. Raises as `run` does."""
        folder = self.workspace.renew()
        try:
            for index, (chunk, _) in enumerate(self.parts(self.prepare(request))):
                if len(chunk.wave):
                    path = folder / f"{index:04d}.wav"
                    write_wav(path, chunk.wave, self.synthesizer.sample_rate)
                    yield path
        except GeneratorExit:  # the client is gone; what it got is still being read
            raise
        except BaseException:
            self.workspace.clear()
            raise

    def prepare(self, request: Request) -> Prepared:
        """Everything before the first segment."""
        started, stopwatch = time.perf_counter(), Stopwatch(self.model.device)
        request = request.checked()
        options = request.synthesis(self.model.config.synthesis)
        with stopwatch("text"):
            normalizer = TextNormalizer(self.glossary.merged(request.terms()))
            script = prepare_script(
                request.text,
                normalizer,
                self.tokenizer,
                language=self.language(request.language),
                max_segment_tokens=min(options.segment_tokens, self.model.config.gpt.max_text_tokens),
                quick_start_tokens=request.quick_start_tokens,
            )
        with stopwatch("voice"):
            reference = self.references.speaker(request.speaker, request.reference_options())
        with stopwatch("emotion"):
            emotion = self.emotion_vector(request, reference.voice)
        segments = sum(isinstance(part, TextSegment) for part in script)
        return Prepared(
            request,
            options,
            script,
            reference,
            emotion,
            stopwatch,
            Budget(self.time_limit, segments),
            started,
        )

    def language(self, asked: str) -> str:
        """How to read a text: as asked, if the model speaks that; its only language where it has one."""
        spoken = self.model.config.languages
        if asked != "auto" and asked not in spoken:
            raise ValueError(
                f"language is {asked}; the model {self.model.config.name} speaks {', '.join(spoken)}"
            )
        return spoken[0] if len(spoken) == 1 else asked

    def parts(self, prepared: Prepared):
        """(chunk, spoken or pause) of every part of the result, as it is done."""
        spoken: list[Spoken | Pause] = []

        def waves():
            for part in speak(
                self.synthesizer,
                prepared.script,
                prepared.reference.voice,
                prepared.emotion_vector,
                prepared.options,
                prepared.request.seed,
                prepared.stopwatch,
                prepared.budget,
            ):
                spoken.append(part)
                yield part.seconds if isinstance(part, Pause) else part.wave

        gap = prepared.options.segment_silence_ms / 1000
        for index, chunk in enumerate(chunks(waves(), self.synthesizer.sample_rate, gap)):
            yield chunk, spoken[index]

    def emotion_vector(self, request: Request, voice: Voice) -> Tensor:
        """The vector [1, D] of the request's one emotion source; the voice's own without any."""
        config = self.model.config.emotion
        if request.emotion_audio is not None:
            other = self.references.emotion(request.emotion_audio, request.reference_options())
            return blend(voice.emotion_vector, other, request.emotion_alpha)
        if request.emotion_vector is not None:
            weights = parse_weights(request.emotion_vector, config)
        elif request.emotion_text is not None:
            weights = self.read_emotion(request.emotion_text)
        elif request.emotion_from_text:
            weights = self.read_emotion(request.text.strip()[:MAX_CHARACTERS])
        else:
            return voice.emotion_vector
        scaled = [request.emotion_alpha * weight for weight in temper(weights, config)]
        generator = torch.Generator().manual_seed(request.seed) if request.emotion_random else None
        return from_weights(
            scaled,
            voice.emotion_vector,
            voice.style,
            self.model.speaker_matrix,
            self.model.emotion_matrix,
            config,
            generator,
        )

    def read_emotion(self, text: str) -> list[float]:
        if self.emotion_reader is None:
            raise ValueError(
                "reading the emotion of a text needs the text emotion model, which this model directory does not "
                "hold; use emotion_vector or emotion_audio"
            )
        return self.emotion_reader.weights(text)
