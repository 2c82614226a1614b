"""Trains the style encoder (CAMPPlus): which speaker a crop of filter bank is from, with an additive margin, and the
traits that the speaker was made with. Of hundreds of voices a class alone is heard too seldom to be learned in a
thousand steps; a voice's traits are told by every crop.

Axes: B batch, T frames at 100 Hz, M mel bins, N speakers, R traits.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.audio import kaldi_fbank
from pipeline.conditioning.speaker import CAMPPlus
from pipeline.config import SpeakerConfig
from training.data import Clip, read_wave_at
from training.device import place, ready
from training.features import Arrays


@dataclasses.dataclass(frozen=True)
class SpeakerOptions:
    """The `stage` section of a speaker training configuration. Frames are at 100 Hz; `scale` and `margin` are those of
    the cosine softmax; `traits_weight` is that of the squared error of the traits, each of which varies by 1."""

    batch: int
    crop_frames: tuple[int, int]
    scale: float
    margin: float
    noise: float
    traits_weight: float
    seed: int


def fbank_arrays(config: SpeakerConfig, clip: Clip) -> Arrays:
    """What training caches of a clip: `fbank` float16 [T, M], mean-subtracted."""
    wave = read_wave_at(clip.path, config.sample_rate)
    bank = kaldi_fbank(torch.from_numpy(wave)[None], config.sample_rate, config.mel_bins)
    return {"fbank": bank[0].numpy().astype(np.float16)}


class SpeakerClassifier(nn.Module):
    """The style encoder with a cosine classifier and a reader of traits, which only training has."""

    def __init__(self, config: SpeakerConfig, speakers: int, traits: int):
        super().__init__()
        self.encoder = CAMPPlus(config)
        self.classes = nn.Parameter(torch.randn(speakers, config.style_dim))
        self.traits = nn.Linear(config.style_dim, traits)

    def forward(self, bank: Tensor) -> tuple[Tensor, Tensor]:  # [B, T, M] -> cosines [B, N], traits [B, R]
        style = F.normalize(self.encoder(bank).float(), dim=-1)
        return style @ F.normalize(self.classes, dim=-1).T, self.traits(style * style.shape[-1] ** 0.5)


class SpeakerStage:
    """Additive-margin softmax over speakers and regression of their traits; every batch has its crops from clips drawn
    evenly over speakers. traits_of: [R] numbers by speaker."""

    def __init__(
        self,
        config: SpeakerConfig,
        options: SpeakerOptions,
        clips: Mapping[int, Arrays],
        speaker_of: Mapping[int, str],
        traits_of: Mapping[str, Sequence[float]],
    ):
        self.options = options
        long_enough = [
            index for index, arrays in clips.items() if len(arrays["fbank"]) >= options.crop_frames[1]
        ]
        self.names = sorted({speaker_of[index] for index in long_enough})
        if len(self.names) < 2:
            raise ValueError(
                f"clips of {len(self.names)} speakers last {options.crop_frames[1]} frames or more, needed: 2"
            )
        self.clips = [
            [clips[index]["fbank"] for index in long_enough if speaker_of[index] == name]
            for name in self.names
        ]
        traits = np.array([traits_of[name] for name in self.names], np.float32)
        spread = traits.std(0)
        self.traits = ((traits - traits.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
        torch.manual_seed(options.seed)
        self.module = SpeakerClassifier(config, len(self.names), traits.shape[1])

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        options = self.options
        frames = int(rng.integers(*options.crop_frames, endpoint=True))
        speakers = rng.integers(len(self.clips), size=options.batch)
        crops = []
        for speaker in speakers:
            clip = self.clips[speaker][rng.integers(len(self.clips[speaker]))]
            start = int(rng.integers(len(clip) - frames + 1))
            crops.append(clip[start : start + frames])
        bank = place(np.stack(crops)).float()
        bank = bank - bank.mean(1, keepdim=True) + options.noise * torch.randn_like(bank)
        wanted = place(speakers)
        cosines, traits = self.module(bank)
        margins = options.margin * F.one_hot(wanted, cosines.shape[1])
        classes = F.cross_entropy(options.scale * (cosines - margins), wanted)
        missed = F.mse_loss(traits, place(self.traits[speakers]))
        return {
            "loss": classes + options.traits_weight * missed,
            "classes": classes,
            "traits": missed,
            "accuracy": (cosines.argmax(-1) == wanted).float().mean(),
        }


def load_encoder(config: SpeakerConfig, state: Mapping[str, Tensor]) -> CAMPPlus:
    """The trained style encoder in eval mode, out of the classifier's state dict."""
    encoder = CAMPPlus(config)
    prefix = "encoder."
    encoder.load_state_dict(
        {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    )
    return ready(encoder)


@torch.inference_mode()
def similarities(encoder: CAMPPlus, banks: Sequence[np.ndarray], speakers: Sequence[str]) -> dict[str, float]:
    """Mean style cosine of clips of the same and of different speakers, and how often a clip's nearest is its own."""
    styles = torch.cat([encoder(place(bank).float()[None]) for bank in banks])
    cosines = F.normalize(styles, dim=-1) @ F.normalize(styles, dim=-1).T
    same = torch.tensor([[a == b for b in speakers] for a in speakers])
    itself = torch.eye(len(speakers), dtype=torch.bool)
    nearest = cosines.masked_fill(itself, -1).argmax(-1)
    return {
        "same": float(cosines[same & ~itself].mean()),
        "other": float(cosines[~same].mean()),
        "nearest": float(same[torch.arange(len(speakers)), nearest].float().mean()),
    }
