"""The stages of `training.tiny_en`: which data each takes, where it writes, and the gate it must pass."""
import functools
import logging
from pathlib import Path

from pipeline.config import ModelConfig, build, load_config, read_yaml
from training import data, features, loop, semantic, speech

CONFIGS = Path(__file__).parent / "configs"
MODEL = "tiny-en"
SENTENCES = 28_000
SPEECH_SEED = 0
UNSEEN_SPEAKERS = frozenset({"slt-09", "rms-05", "awb-13", "kal16-11"})  # never trained on: they measure new voices
SEMANTIC_CLIPS = 6_000
CHECKED_CLIPS = 100
logger = logging.getLogger(__name__)


class Recipe:
    """Stages over one work folder. Every method can be called again and does only what is missing."""

    def __init__(self, work: Path):
        self.work = work
        self.config: ModelConfig = load_config(MODEL)

    @functools.cached_property
    def clips(self) -> list[data.Clip]:
        """All clips of the corpus in manifest order; their place is their index in every cache."""
        return data.read_manifest(self.work / "speech" / speech.MANIFEST)[0]

    def seen(self, indices: range | list[int]) -> list[int]:
        """Those of `indices` whose speaker is trained on."""
        return [index for index in indices if self.clips[index].speaker not in UNSEEN_SPEAKERS]

    def unseen(self, indices: range | list[int]) -> list[int]:
        """Those of `indices` whose speaker is kept for measuring."""
        return [index for index in indices if self.clips[index].speaker in UNSEEN_SPEAKERS]

    def cache(self, name: str) -> features.Cache:
        return features.Cache(self.work / "cache" / name)

    def folder(self, stage: str) -> Path:
        return self.work / "runs" / stage

    def settings(self, stage: str, options_type: type) -> tuple[loop.RunConfig, object]:
        """The run and the stage section of `configs/STAGE.yaml`."""
        path = CONFIGS / f"{stage}.yaml"
        return loop.read_run(path), build(options_type, read_yaml(path)["stage"], path.name)

    def speech(self) -> None:
        """Speak the corpus."""
        speech.write_corpus(self.work / "speech", SENTENCES, SPEECH_SEED)

    def bank(self) -> None:
        """Filter banks and phone labels of every clip, for the semantic encoder."""
        extractor = semantic.make_extractor(self.config.semantic, self.config.reference.sample_rate)
        self.cache("bank").fill(self.clips, lambda clip: semantic.input_arrays(extractor, clip))

    def semantic(self) -> None:
        """Train the semantic encoder."""
        run, options = self.settings("semantic", semantic.SemanticOptions)
        if loop.finished(self.folder("semantic"), run):
            return
        banks = self.cache("bank").load(first=SEMANTIC_CLIPS)
        indices = range(min(SEMANTIC_CLIPS, len(banks)))
        stage = semantic.SemanticStage(self.config.semantic, options, {i: banks[i] for i in self.seen(indices)})
        state = loop.train(stage, run, self.folder("semantic"))
        recognizer = semantic.load_recognizer(self.config.semantic, state)
        for name, some in (("trained", self.seen(indices)), ("unseen", self.unseen(indices))):
            accuracy = semantic.phone_accuracy(recognizer, [banks[i] for i in some[:CHECKED_CLIPS]])
            loop.write_metrics(self.folder("semantic"), f"phone accuracy on {name} voices: {accuracy:.3f}")
