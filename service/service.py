"""The service without its server: load a model once, then speak requests.

`predict.py` is a Cog shell over this.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from enhance.denoise import load_denoiser
from pipeline.audio import write_wav
from pipeline.conditioning.emotion_text import EmotionReader
from pipeline.config import SynthesisConfig
from pipeline.convert import Source
from pipeline.deterministic import tone
from pipeline.memory import trim
from pipeline.model import load_model
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text import phones
from pipeline.text.glossary import Glossary
from pipeline.text.markup import Pause
from pipeline.text.multilingual import MultilingualTokenizer
from pipeline.text.normalize import WITH_GRAMMAR, TextNormalizer
from pipeline.text.prepare import TextSegment
from pipeline.text.script import prepare_script
from pipeline.text.tagged import analyser
from pipeline.text.tokenizers import PHONES, make_tokenizer
from pipeline.text.turns import as_markup
from pipeline.threads import compute_on
from pipeline.timing import OnProgress, Stopwatch, Watch, both, no_progress
from service.adapters import Adapters
from service.budget import Budget
from service.cast import cast_of, emotion_of, speaker_of
from service.catalog import locate
from service.conversion import read_source
from service.emotion import Emotions
from service.engine.engine import Engine
from service.engine.limits import Limits, cache_bytes
from service.health import Health
from service.imports import ALL, Imports
from service.prepared import Part, Prepared, Role, role_of
from service.reference import Reference, References
from service.request import Request
from service.result import Result, write_result
from service.settings import Settings
from service.threads import set_threads

logger = logging.getLogger(__name__)

WARM_UP_TEXT = "Hello."
WARM_UP_SECONDS, WARM_UP_RATE = 2.0, 16000
WARM_UP_CODES, WARM_UP_STEPS = 50, 1


class Service:
    """One model, ready to speak. Raises ConfigError, WeightsError or CheckpointError when it cannot be had
    or loaded."""

    def __init__(self, settings: Settings | None = None, packages: Sequence[str] = ALL, packed: bool = True):
        """`packages`: to import meanwhile; fewer where it is known what will be asked. Not `packed`: with plain
        modules, which can be trained."""
        self.settings = settings or Settings.read()
        imports = Imports(packages)
        self.threads = set_threads(self.settings.threads)
        self._preparing = threading.Lock()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        features = self.settings.features
        start = time.perf_counter()
        with locate(self.settings.model, features, self.settings.kept) as source:
            logger.info("model %s: %s", source.config.name, source.config.description)
            self.model = load_model(
                source.directory, source.config, device, self.settings.precision, packed=packed
            )
            self.tokenizer = make_tokenizer(source.config, source.directory)
            if "ja" in source.config.languages:
                analyser()  # now, lest it be missing at the first request
            glossary = source.directory / "glossary.yaml"
            self.glossary = Glossary.from_file(glossary) if glossary.is_file() else Glossary()
            name = source.config.reference.denoiser
            denoiser = load_denoiser(name, source.directory, device) if "denoise" in features else None
            has_reader = "emotion_text" in features and EmotionReader.available(source.directory)
            reader = EmotionReader(source.directory, source.config.emotion, device) if has_reader else None
        self.synthesizer = Synthesizer(self.model)
        self.references = References(self.model, denoiser)
        self.adapters = Adapters(self.model)
        self.emotions = Emotions(self.model, self.references, reader)
        self.health = Health(device)
        limits = Limits(
            self.settings.segment_batch,
            cache_bytes(device, self.settings.cache_mb),
            self.settings.max_waiting,
        )
        self.engine = Engine(self.synthesizer, self.prepare, self.health, limits)
        imports.wait()
        self.setup = {
            "setup.seconds": round(time.perf_counter() - start, 2),
            "setup.bytes": sum(load.bytes for load in self.model.loads),
        }
        logger.info(
            "loaded %.0f MB on %s in %.1f s",
            self.setup["setup.bytes"] / 1e6,
            device,
            self.setup["setup.seconds"],
        )

    def warm_up(self) -> None:
        """One short request through everything that is loaded, which leaves nothing behind: so that the first
        request pays for no first use, and imports nothing."""
        self.normalizer().warm_up()
        if self.model.config.text == PHONES:
            phones.warm_up()
        denoiser = self.references.denoiser
        with tempfile.TemporaryDirectory(prefix="indextts-") as folder:
            path = Path(folder) / "warm-up.wav"
            write_wav(path, tone("warm-up", WARM_UP_SECONDS, WARM_UP_RATE)[0], WARM_UP_RATE)
            prepared = self.prepare(
                Request(
                    WARM_UP_TEXT,
                    path,
                    denoise=denoiser is not None and denoiser.network.warms,
                    emotion_from_text=self.emotions.reader is not None,
                    num_beams=None
                    if self.model.device.type == "cuda"
                    else 1,  # graphs are of a number of beams
                    diffusion_steps=WARM_UP_STEPS,
                    max_mel_tokens=WARM_UP_CODES,
                    seed=0,
                )
            )
            draft = self.engine.decoding.draft(prepared.script[0], prepared.delivery, 0)
            self.synthesizer.render(draft, prepared.delivery, prepared.watch)
        self.references.cache.clear()
        trim()

    def healthy(self) -> bool:
        """Whether the last synthesis worked and the device answers."""
        return self.health.good()

    def run(self, request: Request, folder: Path, on_progress: OnProgress = no_progress) -> Result:
        """Speak `request` into a file in `folder`, which is the caller's to empty; on_progress is called before every
        step and may raise to end it.

        Raises ValueError, in one line, for anything the caller can put right."""
        with self.health.watching():
            prepared = self.prepare(request, on_progress)
            return self.write(folder, prepared, list(self.parts(prepared)))

    def write(self, folder: Path, prepared: Prepared, parts: Sequence[Part]) -> Result:
        """The files of a request all of whose parts are there."""
        return write_result(folder, prepared, parts, self.setup)

    def stream(self, request: Request, folder: Path, stream: str = "segments") -> Iterator[Path]:
        """Speak `request` as WAV files in `folder`, one per segment as soon as it is done; their samples one
        after another are those of `run`'s file. With `stream` "chunks" also of segments that are still being made.
        Raises as `run` does."""
        with self.health.watching():
            for index, part in enumerate(self.parts(self.prepare(request), stream)):
                if len(part.chunk.wave):
                    path = folder / f"{index:04d}.wav"
                    write_wav(path, part.chunk.wave, self.synthesizer.sample_rate)
                    yield path

    def prepare(self, request: Request, on_progress: OnProgress = no_progress) -> Prepared:
        """Everything before the first segment; one request at a time, whatever thread asks."""
        started = time.perf_counter()
        with self._preparing:
            compute_on(self.threads)
            return self._prepare(request, on_progress, started)

    def _prepare(self, request: Request, on_progress: OnProgress, started: float) -> Prepared:
        watch = Watch(Stopwatch(self.model.device), both(Budget(self.settings.time_limit), on_progress))
        request = request.checked()
        if request.source_audio is None:
            request = dataclasses.replace(request, text=as_markup(request.text))
        options = request.synthesis(self.model.config.synthesis)
        with watch.stage("adapter"):
            model = self.adapters.apply(request.adapter)
        script: list[TextSegment | Pause] = []
        source: Source | None = None
        roles: dict[Role, None] = {(None, None): None}
        if request.source_audio is not None:
            with watch.stage("source"):
                source = read_source(model, request.source_audio, options.speed)
        else:
            with watch.stage("text"):
                script = self.script(request, options)
            roles = dict.fromkeys(role_of(part) for part in script if isinstance(part, TextSegment))
        with cast_of(request) as request:
            cast = {role: self.played(request, role, options, watch) for role in roles}
        reference, delivery = next(iter(cast.values()))
        return Prepared(request, script, source, model, reference, delivery, watch, started, cast)

    def script(self, request: Request, options: SynthesisConfig) -> list[TextSegment | Pause]:
        """What of a request's text is spoken in one go, and its pauses."""
        return prepare_script(
            request.text,
            self.normalizer(request.terms()),
            self.tokenizer,
            language=self.language(request.language),
            max_segment_tokens=min(options.segment_tokens, self.model.config.gpt.max_text_tokens),
            quick_start_tokens=request.quick_start_tokens,
        )

    def played(
        self, request: Request, role: Role, options: SynthesisConfig, watch: Watch
    ) -> tuple[Reference, Delivery]:
        """Who speaks a role of the script, and how."""
        voice, emotion = role
        with watch.stage("voice"):
            speaker = speaker_of(request, voice)
            reference = self.references.speaker(speaker, request.reference_options(), watch.progress)
        with watch.stage("emotion"):
            vector = self.emotions.vector(emotion_of(request, emotion), reference.voice, watch.progress)
        return reference, Delivery(reference.voice, vector, options)

    def normalizer(self, terms: Glossary | None = None) -> TextNormalizer:
        """What reads a text as this model takes it; terms: readings beside the model's own."""
        config = self.model.config
        # a model of one language may be sent another's letters, and reads them as the grammar of both would
        languages = config.languages if len(config.languages) > 1 else WITH_GRAMMAR
        return TextNormalizer(
            self.glossary.merged(terms) if terms is not None else self.glossary,
            languages,
            phones=config.text == PHONES,
            annotated=isinstance(self.tokenizer, MultilingualTokenizer),
        )

    def language(self, asked: str) -> str:
        """How to read a text: as asked, if the model speaks that; its only language where it has one."""
        spoken = self.model.config.languages
        if asked != "auto" and asked not in spoken:
            raise ValueError(
                f"language is {asked}; the model {self.model.config.name} speaks {', '.join(spoken)}"
            )
        return spoken[0] if len(spoken) == 1 else asked

    def parts(self, prepared: Prepared, stream: str = "segments") -> Iterator[Part]:
        """Every part of the result, in order, as it is done."""
        return iter(self.engine.speak(prepared, stream))
