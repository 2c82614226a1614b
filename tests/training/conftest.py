"""A model small enough to train for a few steps in a test, and clips it can be trained on."""

import copy

import numpy as np
import pytest

from pipeline.config import ModelConfig
from pipeline.strict import build, read_yaml
from training.workspace import MODEL_CONFIG

SMALL = {
    "semantic": {"hidden_size": 32, "hidden_layer": 1, "intermediate_size": 32, "heads": 2},
    "codec": {
        "codebook_size": 16,
        "hidden_size": 32,
        "vocos_dim": 32,
        "vocos_intermediate_dim": 32,
        "vocos_num_layers": 1,
    },
    "speaker": {
        "head_channels": 4,
        "tdnn_channels": 16,
        "growth": 4,
        "bottleneck": 8,
        "blocks": [[1, 1], [1, 2], [1, 2]],
        "style_dim": 16,
    },
    "gpt": {
        "model_dim": 32,
        "layers": 2,
        "heads": 2,
        "max_mel_tokens": 80,
        "max_text_tokens": 40,
        "number_mel_codes": 18,
        "start_mel_token": 16,
        "stop_mel_token": 17,
        "alignment": {"layer": 1, "heads": [0, 1], "back": 1, "ahead": 3},
    },
    "vocoder": {"upsample_initial_channel": 32},
}
CONDITIONER = {
    "output_size": 16,
    "linear_units": 16,
    "attention_heads": 2,
    "num_blocks": 1,
    "perceiver_latents": 2,
}


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    values = copy.deepcopy(read_yaml(MODEL_CONFIG))
    for section, changes in SMALL.items():
        values[section].update(changes)
    values["gpt"]["speaker"].update(CONDITIONER, perceiver_dim=32)
    values["gpt"]["emotion"].update(CONDITIONER, perceiver_latents=1, perceiver_dim=16)
    values["s2mel"]["regulator"].update(channels=16, in_channels=32)
    values["s2mel"]["dit"].update(
        hidden_dim=32, heads=2, depth=3, content_dim=16, style_dim=16, ffn_multiple=32
    )
    values["s2mel"]["wavenet"].update(hidden_dim=16, num_layers=2)
    return build(ModelConfig, values, "small")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
