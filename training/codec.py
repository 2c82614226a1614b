"""Trains the semantic codec on frozen semantic features: codes that keep the phone and the features' shape.

Axes: B batch, T frames, D feature width, E codebook width, K codes.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.conditioning.codec import SemanticCodec
from pipeline.config import CodecConfig
from training.device import place, ready
from training.features import Arrays
from training.initialize import initialize
from training.semantic import LABELS, UNLABELLED

USAGE_DECAY = 0.98
DEAD_SHARE = 0.05  # a code used less than this share of the mean is dead


@dataclasses.dataclass(frozen=True)
class CodecOptions:
    """The `stage` section of a codec training configuration. Codes that are hardly used are moved onto data every
    `revive_every` steps until step `revive_until`."""

    batch: int
    crop_frames: int
    phone_weight: float
    feature_weight: float
    commitment_weight: float
    codebook_weight: float
    revive_every: int
    revive_until: int
    seed: int


class CodecTrainer(nn.Module):
    """The codec with what only training has: linear heads on its embedding, and how often each code is used."""

    def __init__(self, config: CodecConfig, seed: int):
        super().__init__()
        self.codec = initialize(SemanticCodec(config), seed)
        self.phone_head = nn.Linear(config.hidden_size, len(LABELS))
        self.feature_head = nn.Linear(config.hidden_size, config.hidden_size)
        self.register_buffer("usage", torch.ones(config.codebook_size))
        # rows on the sphere: the nearest row is by cosine, and the row itself is what is projected back
        codebook = self.codec.quantizer.quantizers[0].codebook.weight
        codebook.data = F.normalize(torch.randn(codebook.shape), dim=-1)


class CodecStage:
    """Phone cross-entropy and feature regression through the straight-through quantizer."""

    def __init__(self, config: CodecConfig, options: CodecOptions, clips: Mapping[int, Arrays]):
        self.module = CodecTrainer(config, options.seed)
        self.options = options
        self.clips = [arrays for arrays in clips.values() if len(arrays["features"]) >= options.crop_frames]
        if len(self.clips) < options.batch:
            raise ValueError(
                f"{len(self.clips)} clips last {options.crop_frames} frames or more, needed: {options.batch}"
            )

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        options, module = self.options, self.module
        features, phones = self.draw(rng)
        wanted = phones.flatten()
        quantizer = module.codec.quantizer.quantizers[0]
        encoded = module.codec.encoder(features.transpose(1, 2))
        narrow = F.normalize(quantizer.in_project(encoded.transpose(1, 2)).transpose(1, 2).float(), dim=-1)
        codes = (narrow.detach() @ F.normalize(quantizer.codebook.weight, dim=-1).T).argmax(-1)
        rows = quantizer.codebook(codes)
        self.count(codes, narrow.detach(), rng, step)
        passed = narrow + (rows - narrow).detach()
        embedding = quantizer.out_project(passed.transpose(1, 2)).transpose(1, 2)
        phone_logits = module.phone_head(embedding).float().flatten(0, 1)
        losses = {
            "phone": F.cross_entropy(phone_logits, phones.flatten(), ignore_index=UNLABELLED),
            "feature": F.mse_loss(module.feature_head(embedding).float(), features),
            "commitment": F.mse_loss(narrow, rows.detach()),
            "codebook": F.mse_loss(rows, narrow.detach()),
        }
        total = sum(getattr(options, f"{name}_weight") * value for name, value in losses.items())
        usage = module.usage / module.usage.sum()
        return {
            "loss": total,
            **losses,
            "accuracy": (phone_logits.argmax(-1) == wanted)[wanted != UNLABELLED].float().mean(),
            "perplexity": torch.exp(-(usage * (usage + 1e-9).log()).sum()),
        }

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Crops: features [B, T, D] float32 and phones [B, T] int64."""
        frames = self.options.crop_frames
        features, phones = [], []
        for index in rng.integers(len(self.clips), size=self.options.batch):
            clip = self.clips[index]
            start = int(rng.integers(len(clip["features"]) - frames + 1))
            features.append(clip["features"][start : start + frames])
            phones.append(clip["phones"][start : start + frames])
        return place(np.stack(features)).float(), place(np.stack(phones)).long()

    @torch.no_grad()
    def count(self, codes: Tensor, narrow: Tensor, rng: np.random.Generator, step: int) -> None:
        """Track how often codes are used; move dead ones onto encoder outputs of this batch."""
        usage, options = self.module.usage, self.options
        usage.lerp_(torch.bincount(codes.flatten(), minlength=len(usage)).float(), 1 - USAGE_DECAY)
        if step % options.revive_every or not 0 < step <= options.revive_until:
            return
        dead = torch.nonzero(usage < DEAD_SHARE * usage.mean()).flatten()
        outputs = narrow.flatten(0, 1)
        chosen = place(rng.integers(len(outputs), size=len(dead)))
        self.module.codec.quantizer.quantizers[0].codebook.weight.data[dead] = outputs[chosen]
        usage[dead] = usage.mean()


def load_codec(config: CodecConfig, state: Mapping[str, Tensor]) -> SemanticCodec:
    """The trained codec in eval mode, out of the trainer's state dict."""
    codec = SemanticCodec(config)
    codec.load_state_dict(
        {key.removeprefix("codec."): value for key, value in state.items() if key.startswith("codec.")}
    )
    return ready(codec)


def information(codes: Sequence[np.ndarray], phones: Sequence[np.ndarray], size: int) -> dict[str, float]:
    """How much codes tell about phones: mutual information and phone entropy in nats, accuracy of the best phone per
    code, and the share of codes used."""
    table = np.zeros((size, len(LABELS)))
    for code, phone in zip(codes, phones, strict=True):
        labelled = phone != UNLABELLED
        np.add.at(table, (code[labelled], phone[labelled]), 1)
    joint = table / table.sum()
    by_code, by_phone = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    filled = joint > 0
    mutual = float((joint[filled] * np.log(joint[filled] / (by_code @ by_phone)[filled])).sum())
    entropy = float(-(by_phone[by_phone > 0] * np.log(by_phone[by_phone > 0])).sum())
    return {
        "mutual": mutual,
        "entropy": entropy,
        "accuracy": float(joint.max(1).sum()),
        "used": float((by_code > 0).mean()),
    }
