"""Trains the style encoder (CAMPPlus): which speaker a crop of filter bank is from, with an additive margin.

Axes: B batch, T frames at 100 Hz, M mel bins, N speakers.
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
from training.device import place
from training.features import Arrays


@dataclasses.dataclass(frozen=True)
class SpeakerOptions:
    """The `stage` section of a speaker training configuration. Frames are at 100 Hz; `scale` and `margin` are those of
    the cosine softmax."""

    batch: int
    crop_frames: tuple[int, int]
    scale: float
    margin: float
    noise: float
    seed: int


def fbank_arrays(config: SpeakerConfig, clip: Clip) -> Arrays:
    """What training caches of a clip: `fbank` float16 [T, M], mean-subtracted."""
    wave = read_wave_at(clip.path, config.sample_rate)
    bank = kaldi_fbank(torch.from_numpy(wave)[None], config.sample_rate, config.mel_bins)
    return {"fbank": bank[0].numpy().astype(np.float16)}


class SpeakerClassifier(nn.Module):
    """The style encoder with a cosine classifier, which only training has."""

    def __init__(self, config: SpeakerConfig, speakers: int):
        super().__init__()
        self.encoder = CAMPPlus(config)
        self.classes = nn.Parameter(torch.randn(speakers, config.style_dim))

    def forward(self, bank: Tensor) -> Tensor:  # [B, T, M] -> cosines [B, N]
        return F.normalize(self.encoder(bank).float(), dim=-1) @ F.normalize(self.classes, dim=-1).T


class SpeakerStage:
    """Additive-margin softmax over speakers; every batch has its crops from clips drawn evenly over speakers."""

    def __init__(
        self,
        config: SpeakerConfig,
        options: SpeakerOptions,
        clips: Mapping[int, Arrays],
        speaker_of: Mapping[int, str],
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
        torch.manual_seed(options.seed)
        self.module = SpeakerClassifier(config, len(self.names))

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
        cosines = self.module(bank)
        margins = options.margin * F.one_hot(wanted, cosines.shape[1])
        return {
            "loss": F.cross_entropy(options.scale * (cosines - margins), wanted),
            "accuracy": (cosines.argmax(-1) == wanted).float().mean(),
        }


def load_encoder(config: SpeakerConfig, state: Mapping[str, Tensor]) -> CAMPPlus:
    """The trained style encoder in eval mode, out of the classifier's state dict."""
    encoder = CAMPPlus(config)
    prefix = "encoder."
    encoder.load_state_dict(
        {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    )
    return encoder.eval().requires_grad_(False)


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
