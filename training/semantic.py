"""Trains the semantic encoder: phones from filter-bank frames at 50 Hz, over many voices.

Axes: B batch, T frames, M stacked mel bins, D feature width, P phones.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline.conditioning.semantic import SemanticEncoder
from pipeline.config import SemanticConfig
from pipeline.text.phones import PHONES, STRESS
from training.data import Clip, read_wave_at
from training.device import place, ready
from training.features import Arrays
from training.teacher import PAD

BANK_SECONDS = 0.01  # between filter-bank windows of 25 ms; a frame stacks `stride` of them
WINDOW_SECONDS = 0.025
LABELS = (PAD, *PHONES)  # what frames are told apart by: silence and the phones, without their stress
UNLABELLED = 255


@dataclasses.dataclass(frozen=True)
class SemanticOptions:
    """The `stage` section of a semantic training configuration. Frames are those of the semantic encoder."""

    batch: int
    crop_frames: tuple[int, int]
    dropout: float
    time_masks: int
    time_mask_frames: int
    mel_masks: int
    mel_mask_bins: int
    noise: float


def spoken_phones(phones: Sequence[tuple[str, float]]) -> list[tuple[int, float]]:
    """(Label, end in seconds) of a clip's tokens: a stress mark's time is its vowel's, pauses are silence, and the space
    between words, which may be either or neither, is `UNLABELLED`."""
    found = []
    for token, end in phones:
        if token and token in PHONES:
            found.append((LABELS.index(token), end))
        elif token == " ":
            found.append((UNLABELLED, end))
        elif token not in tuple(STRESS):
            found.append((0, end))
    return found


def frame_labels(phones: Sequence[tuple[str, float]], frames: int, stride: int) -> np.ndarray:
    """Index in `LABELS` of what is spoken at each frame's middle: uint8 [frames]."""
    spoken = spoken_phones(phones)
    ends = np.array([end for _, end in spoken])
    names = np.array([label for label, _ in spoken], dtype=np.uint8)
    seconds = BANK_SECONDS * stride
    centers = (WINDOW_SECONDS + BANK_SECONDS * (stride - 1)) / 2 + seconds * np.arange(frames)
    return names[np.searchsorted(ends, centers, side="right").clip(max=len(ends) - 1)]


def make_extractor(config: SemanticConfig, rate: int) -> SemanticEncoder:
    """A semantic encoder without weights, for its `input_features` alone."""
    return SemanticEncoder(
        config, nn.Identity(), torch.zeros(config.hidden_size), torch.ones(config.hidden_size), rate
    )


def input_arrays(extractor: SemanticEncoder, clip: Clip) -> Arrays:
    """What training caches of a clip: `bank` float16 [T, M] and `phones` uint8 [T]."""
    bank, mask = extractor.input_features(read_wave_at(clip.path, extractor.rate))
    bank = bank[0, : int(mask.sum())].numpy().astype(np.float16)
    labels = (
        frame_labels(clip.phones, len(bank), extractor.config.stride)
        if clip.phones
        else np.full(len(bank), UNLABELLED, dtype=np.uint8)
    )
    return {"bank": bank, "phones": labels}


def make_semantic_model(config: SemanticConfig) -> Wav2Vec2BertModel:
    """Hugging Face's model with just the layers below the hidden state that is read: `W2VBert` with the dropouts that
    training uses, under the same names."""
    return Wav2Vec2BertModel(
        Wav2Vec2BertConfig(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.hidden_layer,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate_size,
            feature_projection_input_dim=config.mel_bins * config.stride,
            hidden_act="swish",
            position_embeddings_type="relative_key",
            left_max_position_embeddings=config.left_positions,
            right_max_position_embeddings=config.right_positions,
            conv_depthwise_kernel_size=config.conv_kernel,
            add_adapter=False,
            use_intermediate_ffn_before_adapter=False,
            apply_spec_augment=False,
        )
    )


class PhoneRecognizer(nn.Module):
    """The semantic model with a phone head, which only training has."""

    def __init__(self, config: SemanticConfig, dropout: float):
        super().__init__()
        self.model = make_semantic_model(config)
        self.model.config.layerdrop = (
            0.0  # transformers' default leaves out a tenth of the layers in training
        )
        self.head = nn.Linear(config.hidden_size, len(LABELS))
        self.dropout = nn.Dropout(dropout)

    def forward(self, bank: Tensor) -> Tensor:  # [B, T, M] -> [B, T, P]
        return self.head(self.dropout(self.model(bank).last_hidden_state))


class SemanticStage:
    """Cross-entropy of phones over random crops with SpecAugment-like masks."""

    def __init__(self, config: SemanticConfig, options: SemanticOptions, clips: Mapping[int, Arrays]):
        self.module = PhoneRecognizer(config, options.dropout)
        self.options, self.mel_bins = options, config.mel_bins
        longest = options.crop_frames[1]
        self.clips = [arrays for arrays in clips.values() if len(arrays["bank"]) >= longest]
        if len(self.clips) < options.batch:
            raise ValueError(
                f"{len(self.clips)} clips last {longest} frames or more, needed: {options.batch}"
            )

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        bank, phones = self.draw(rng)
        logits = self.module(self.augment(bank, rng)).float().flatten(0, 1)
        wanted = phones.flatten()
        hit = (logits.argmax(-1) == wanted)[wanted != UNLABELLED].float().mean()
        return {"loss": F.cross_entropy(logits, wanted, ignore_index=UNLABELLED), "accuracy": hit}

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Crops of equal length: bank [B, T, M] float32 and phones [B, T] int64."""
        frames = int(rng.integers(*self.options.crop_frames, endpoint=True))
        banks, phones = [], []
        for index in rng.integers(len(self.clips), size=self.options.batch):
            clip = self.clips[index]
            start = int(rng.integers(len(clip["bank"]) - frames + 1))
            banks.append(clip["bank"][start : start + frames])
            phones.append(clip["phones"][start : start + frames])
        return place(np.stack(banks)).float(), place(np.stack(phones)).long()

    def augment(self, bank: Tensor, rng: np.random.Generator) -> Tensor:
        """Noise, a random spectral tilt per clip, and masks along time and frequency."""
        options, (batch, frames, _) = self.options, bank.shape
        bank = bank + options.noise * torch.randn_like(bank)
        tilt = torch.linspace(-1, 1, self.mel_bins).repeat(bank.shape[-1] // self.mel_bins)
        bank = bank + tilt * options.noise * torch.randn(batch, 1, 1)
        stacked = bank.unflatten(-1, (-1, self.mel_bins))
        for row in range(batch):
            for _ in range(options.time_masks):
                start, width = rng.integers(frames), rng.integers(options.time_mask_frames + 1)
                stacked[row, start : start + width] = 0
            for _ in range(options.mel_masks):
                start, width = rng.integers(self.mel_bins), rng.integers(options.mel_mask_bins + 1)
                stacked[row, :, :, start : start + width] = 0
        return stacked.flatten(-2)


@torch.inference_mode()
def hidden_states(model: Wav2Vec2BertModel, bank: np.ndarray) -> Tensor:
    """The features of one whole clip before normalization: [T, M] -> [T, D]."""
    return model(place(bank).float()[None]).last_hidden_state[0]


@torch.inference_mode()
def feature_statistics(model: Wav2Vec2BertModel, banks: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """Mean and variance per channel over clips: what `wav2vec2bert_stats` holds, each [D]."""
    frames = torch.cat([hidden_states(model, bank) for bank in banks]).double()
    return {"mean": frames.mean(0).float(), "var": frames.var(0).float()}


@torch.inference_mode()
def phone_accuracy(module: PhoneRecognizer, clips: Sequence[Arrays]) -> float:
    """Share of frames whose phone is recognized, over whole clips."""
    hits = frames = 0
    for clip in clips:
        found = module(place(clip["bank"]).float()[None])[0].argmax(-1).cpu().numpy()
        labelled = clip["phones"] != UNLABELLED
        hits, frames = hits + int((found == clip["phones"])[labelled].sum()), frames + int(labelled.sum())
    return hits / frames


def load_recognizer(config: SemanticConfig, state: Mapping[str, Tensor]) -> PhoneRecognizer:
    """A trained recognizer in eval mode, from the state dict `loop.averaged` gives."""
    module = PhoneRecognizer(config, 0.0)
    module.load_state_dict(state)
    return ready(module)
