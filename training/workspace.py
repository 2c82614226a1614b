"""The work folder of a recipe: corpus, caches and checkpoints, and what later stages are fed from them."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.conditioning.codec import SemanticCodec
from pipeline.config import ModelConfig
from pipeline.strict import build, read_yaml
from pipeline.text.phones import PhoneTokenizer, to_pieces
from training import codec, data, features, gpt, loop, semantic

CONFIGS = Path(__file__).parent / "configs"
MODEL_CONFIG = CONFIGS / "model.yaml"
PARTS = ("speech", "fast_speech")


class Workspace:
    """Lazily read parts of one work folder; everything is computed at most once and only when asked for."""

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        unseen_speakers: frozenset[str],
        settings_folders: Sequence[Path] = (CONFIGS,),
    ):
        """The settings of a stage are in the first of `settings_folders` that has a file of its name."""
        self.folder, self.config, self.unseen_speakers = folder, config, unseen_speakers
        self.settings_folders = settings_folders

    @functools.cached_property
    def clips(self) -> dict[int, data.Clip]:
        """The clips of the corpus that have been spoken, by their number, which is their index in every cache."""
        manifests = [self.folder / part / data.MANIFEST for part in PARTS]
        found = [clip for path in manifests if path.exists() for clip in data.read_manifest(path)[0]]
        return {clip.index: clip for clip in found}

    def seen(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` whose speaker is trained on."""
        return [index for index in indices if self.clips[index].speaker not in self.unseen_speakers]

    def unseen(self, indices: Iterable[int]) -> list[int]:
        """Those of `indices` whose speaker is kept for measuring."""
        return [index for index in indices if self.clips[index].speaker in self.unseen_speakers]

    def speakers(self, indices: Iterable[int]) -> dict[int, str]:
        return {index: self.clips[index].speaker for index in indices}

    def cache(self, name: str) -> features.Cache:
        return features.Cache(self.folder / "cache" / name)

    def run(self, stage: str) -> Path:
        """Where a stage keeps its checkpoint and its metrics."""
        return self.folder / "runs" / stage

    def settings(self, stage: str, options_type: type) -> tuple[loop.RunConfig, object]:
        """The run and the stage section of the stage's configuration."""
        paths = [folder / f"{stage}.yaml" for folder in self.settings_folders]
        path = next((path for path in paths if path.exists()), paths[-1])
        return loop.read_run(path), build(options_type, read_yaml(path)["stage"], path.name)

    def note(self, stage: str, **values: float) -> None:
        """Write measured values to a stage's log."""
        loop.write_metrics(self.run(stage), " ".join(f"{name}={value:.4f}" for name, value in values.items()))

    # --- semantic features and codes --------------------------------------------------------------

    @functools.cached_property
    def recognizer(self) -> semantic.PhoneRecognizer:
        return semantic.load_recognizer(self.config.semantic, loop.averaged(self.run("semantic")))

    @functools.cached_property
    def statistics(self) -> dict[str, Tensor]:
        """Mean and variance of the semantic features, measured once."""
        path = self.run("semantic") / "statistics.pt"
        if not path.exists():
            banks = self.cache("bank").load(["bank"], range(features.CLIPS_PER_SHARD))
            chosen = [banks[index]["bank"] for index in self.seen(banks)]
            torch.save(semantic.feature_statistics(self.recognizer.model, chosen), path)
        return torch.load(path, map_location=torch.get_default_device(), weights_only=True)

    def normalized(self, bank: np.ndarray) -> Tensor:
        """Normalized semantic features [T, D] of a clip's filter bank."""
        hidden = semantic.hidden_states(self.recognizer.model, bank)
        return (hidden - self.statistics["mean"]) / self.statistics["var"].sqrt()

    @functools.cached_property
    def codec(self) -> SemanticCodec:
        return codec.load_codec(self.config.codec, loop.averaged(self.run("codec")))

    @functools.cached_property
    def codes(self) -> dict[int, features.Arrays]:
        return self.cache("codes").load()

    @functools.cached_property
    def codebook(self) -> Tensor:
        """What every code is embedded as: [K, D]."""
        with torch.no_grad():
            return self.codec.vq2emb(torch.arange(self.config.codec.codebook_size)[None])[0]

    # --- what GPT and flow are fed ----------------------------------------------------------------

    @functools.cached_property
    def tokenizer(self) -> PhoneTokenizer:
        return PhoneTokenizer()

    def sample(self, index: int) -> gpt.Sample:
        """Text tokens and codes of a clip: what the teacher was given to speak."""
        clip = self.clips[index]
        return gpt.Sample(
            np.array(self.tokenizer.ids(to_pieces("".join(phone for phone, _ in clip.phones)))),
            self.codes[index]["codes"].astype(np.int64),
            clip.speaker,
        )

    @functools.cached_property
    def conditions(self) -> dict[str, list[np.ndarray]]:
        """Conditioning features [T, D] by speaker."""
        by_speaker: dict[str, list[np.ndarray]] = {}
        for index, arrays in self.cache("features").load().items():
            by_speaker.setdefault(self.clips[index].speaker, []).append(arrays["features"])
        return by_speaker

    def styles(self, planned: Iterable[int] | None = None) -> dict[int, np.ndarray]:
        """Style vectors [S] by clip, of the `planned` clips or of all that the cache holds."""
        return {
            index: arrays["style"] for index, arrays in self.cache("styles").load(planned=planned).items()
        }
