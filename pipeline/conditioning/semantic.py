"""Semantic features: w2v-bert 2.0 up to the hidden state that is read, normalized.

Axes: B batch, T frames at 50 Hz, D feature width (1024).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.audio import kaldi_bank
from pipeline.conditioning.w2vbert import W2VBert
from pipeline.config import SemanticConfig

FULL_SCALE = 2.0**15  # the filter bank is that of 16-bit samples
VARIANCE_FLOOR = 1e-7
BANK_SECONDS, BANK_WINDOW_SECONDS = (
    0.01,
    0.025,
)  # of Kaldi's filter bank, `stride` frames of which make a code


class SemanticEncoder(nn.Module):
    """16 kHz wave -> normalized semantic features."""

    def __init__(self, config: SemanticConfig, model: W2VBert, mean: Tensor, var: Tensor, rate: int):
        super().__init__()
        self.config, self.rate = config, rate
        self.model = model
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", var.sqrt(), persistent=False)

    @property
    def samples_per_code(self) -> int:
        return round(BANK_SECONDS * self.rate) * self.config.stride

    def codes_of(self, samples: int) -> int:
        """How many codes a wave of so many samples gives; the last may be made of less than the others."""
        window, hop = round(BANK_WINDOW_SECONDS * self.rate), round(BANK_SECONDS * self.rate)
        return -(-((samples - window) // hop + 1) // self.config.stride)

    def samples_of(self, first: int, end: int) -> tuple[int, int]:
        """The samples that the codes from `first` up to `end` are made of."""
        more = round((BANK_WINDOW_SECONDS - BANK_SECONDS) * self.rate)
        return first * self.samples_per_code, end * self.samples_per_code + more

    def input_features(self, wave: np.ndarray) -> tuple[Tensor, Tensor]:
        """Wave [T] -> stacked log-mel frames [1, T50, mel_bins · stride] and their mask [1, T50], on the CPU: what
        Hugging Face's SeamlessM4TFeatureExtractor gives."""
        bank = kaldi_bank(torch.from_numpy(wave)[None] * FULL_SCALE, self.rate, self.config.mel_bins)
        bank = (bank - bank.mean(0)) / (bank.var(0) + VARIANCE_FLOOR).sqrt()
        missing = -len(bank) % self.config.stride
        padded = F.pad(bank, (0, 0, 0, missing), value=self.config.padding_value)
        mask = F.pad(torch.ones(len(bank), dtype=torch.long), (0, missing))
        stride = self.config.stride
        return padded.reshape(1, len(padded) // stride, -1), mask[stride - 1 :: stride][None]

    @torch.inference_mode()
    def forward(self, wave: Tensor) -> Tensor:
        """Wave [1, T] at 16 kHz -> features [1, T50, D]."""
        features, mask = self.input_features(wave[0].cpu().numpy())
        norm = (
            self.model.feature_projection.layer_norm.weight
        )  # never packed: it tells where and in what the model is
        hidden = self.model(features.to(norm.device, norm.dtype), mask.to(norm.device))
        return (hidden.to(self.mean.dtype) - self.mean) / self.std
