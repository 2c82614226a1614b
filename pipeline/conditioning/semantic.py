"""Semantic features: w2v-bert 2.0 up to the hidden state that is read, normalized.

Axes: B batch, T frames at 50 Hz, D feature width (1024).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline.config import SemanticConfig


def make_semantic_model(config: SemanticConfig) -> Wav2Vec2BertModel:
    """The transformers model with just the layers below the hidden state that is read."""
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


class SemanticEncoder(nn.Module):
    """16 kHz wave -> normalized semantic features."""

    def __init__(
        self, config: SemanticConfig, model: Wav2Vec2BertModel, mean: Tensor, var: Tensor, rate: int
    ):
        super().__init__()
        self.rate = rate
        self.model = model
        self.extract = SeamlessM4TFeatureExtractor(
            feature_size=config.mel_bins,
            num_mel_bins=config.mel_bins,
            sampling_rate=rate,
            padding_value=config.padding_value,
            stride=config.stride,
        )
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", var.sqrt(), persistent=False)

    def input_features(self, wave: np.ndarray) -> tuple[Tensor, Tensor]:
        """Wave [T] -> stacked log-mel frames [1, T50, mel_bins · stride] and their mask [1, T50], on the CPU."""
        inputs = self.extract(wave, sampling_rate=self.rate, return_tensors="pt")
        return inputs["input_features"], inputs["attention_mask"]

    @torch.inference_mode()
    def forward(self, wave: Tensor) -> Tensor:
        """Wave [1, T] at 16 kHz -> features [1, T50, D]."""
        features, mask = self.input_features(wave[0].cpu().numpy())
        features = features.to(self.mean.device, self.mean.dtype)
        hidden = self.model(features, attention_mask=mask.to(self.mean.device)).last_hidden_state
        return (hidden - self.mean) / self.std
