"""Deterministic weights and inputs, a function of names and shapes alone, and a writer of whole model
directories in the published file layout. For parity checks, benchmarks, tests and the mini model.

The rule is the golden values' (`tests/golden/README.md`): a legacy numpy RandomState seeded with
crc32(key) draws a standard normal, scaled by what the key's last part and the shape say.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from pipeline.checkpoints import BARE_TENSOR, LAYOUTS, Section
from pipeline.config import ModelConfig
from pipeline.loading import NoInitialValues, is_constant
from pipeline.published import SEMANTIC, VOCODER, to_published

QUIET = {"conv_post.weight_g": 0.02}  # keeps most of a random vocoder's output inside [-1, 1]
SPREAD = 0.1


def values(key: str, shape: tuple[int, ...]) -> Tensor:
    """The float32 tensor that belongs to a published `key`."""
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    last = key.rsplit(".", 1)[-1]
    if last == "running_var":
        array = 1 + SPREAD * np.abs(normal)
    elif last == "weight_g":
        gain = next((g for suffix, g in QUIET.items() if key.endswith(suffix)), 1.0)
        array = gain * (1 + SPREAD * normal)
    elif len(shape) <= 1:
        is_scale = last in ("weight", "gamma")
        array = 1 + SPREAD * normal if is_scale else SPREAD * normal
    else:
        array = normal / np.float32(np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def noise(name: str, *shape: int) -> Tensor:
    """Standard normal input called `name`."""
    normal = np.random.RandomState(zlib.crc32(("input:" + name).encode())).standard_normal(shape)
    return torch.from_numpy(normal.astype(np.float32))


def tone(name: str, seconds: float, rate: int) -> Tensor:
    """A speech-like test signal [1, samples]: a gliding harmonic stack with a syllabic envelope."""
    t = np.arange(int(seconds * rate)) / rate
    seed = zlib.crc32(("tone:" + name).encode())
    f0 = 110 + (seed % 90) + 18 * np.sin(2 * np.pi * 0.7 * t) + 6 * np.sin(2 * np.pi * 5 * t)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    wave = sum(np.sin(k * phase) / k**1.2 for k in range(1, 24))
    envelope = 0.15 + 0.85 * np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1)
    hiss = np.random.RandomState(seed).standard_normal(t.shape) * 0.002
    return torch.from_numpy(np.clip(0.2 * wave * envelope + hiss, -1, 1).astype(np.float32))[None]


def published_shapes(
    shapes: Mapping[str, tuple[int, ...]], weight_norm: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Shapes of a module's tensors as published: constants left out, weight norm not folded."""
    result = {}
    for key, shape in shapes.items():
        if is_constant(key):
            continue
        if any(re.match(pattern, key) for pattern in weight_norm):
            result[key + "_g"] = (shape[0], *(1,) * (len(shape) - 1))
            result[key + "_v"] = tuple(shape)
        else:
            result[key] = tuple(shape)
    return result


def deterministic_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {key: values(key, shape) for key, shape in shapes.items()}


def section_states(config: ModelConfig) -> dict[str, dict[str, dict[str, Tensor]]]:
    """checkpoint -> section -> published state dict with deterministic values, for every module."""
    from pipeline.model import MODULES  # the writer needs the modules' shapes; nothing else here does

    states: dict[str, dict[str, dict[str, Tensor]]] = {}
    for checkpoint, rule in LAYOUTS[config.layout].items():
        for section, part in rule.sections.items():
            if (checkpoint, section) in MODULES:
                with torch.device("meta"), NoInitialValues():
                    module = MODULES[checkpoint, section](config)
                shapes = {key: tuple(t.shape) for key, t in module.state_dict().items()}
                states.setdefault(checkpoint, {})[section] = deterministic_state(
                    published_shapes(shapes, part.weight_norm)
                )
    return states


def tables(config: ModelConfig) -> dict[str, dict[str, Tensor]]:
    """The checkpoints that are no module: statistics and emotion matrices."""
    width, rows = config.semantic.hidden_size, sum(config.emotion.rows)
    return {
        "semantic_stats": {
            "mean": SPREAD * noise("w2v.mean", width),
            "var": 1 + SPREAD * noise("w2v.var", width).abs(),
        },
        "speaker_matrix": {BARE_TENSOR: noise("feat1", rows, config.speaker.style_dim)},
        "emotion_matrix": {BARE_TENSOR: noise("feat2", rows, config.gpt.model_dim)},
    }


def write_model(directory: Path, config: ModelConfig, vocabulary: Path | None) -> Path:
    """A model directory in the published layout: same files, same nesting, weight norm not folded. `vocabulary`: the
    file to copy, None for a model that has none."""
    states, checkpoints = section_states(config), LAYOUTS[config.layout]
    for name, checkpoint in checkpoints.items():
        path = directory / checkpoint.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in states:
            table = tables(config)[name]
            torch.save(table.get(BARE_TENSOR, table), path)
        elif path.suffix == ".safetensors":
            save_file(states[name][""], path)
        else:
            torch.save(_nested(states[name], checkpoint.sections), path)
    (directory / "config.yaml").write_text(yaml.safe_dump(to_published(config), sort_keys=False))
    semantic = {theirs: getattr(config.semantic, ours) for ours, theirs in SEMANTIC.items()}
    semantic["num_hidden_layers"] = config.semantic.hidden_layer
    (directory / "w2v-bert-2.0/config.json").write_text(json.dumps(semantic))
    vocoder = {theirs: getattr(config.vocoder, ours) for ours, theirs in VOCODER.items()}
    (directory / "bigvgan/config.json").write_text(json.dumps(vocoder))
    if config.vocabulary is not None and vocabulary is not None:
        shutil.copyfile(vocabulary, directory / config.vocabulary)
    return directory


def kept_model(folder: Path, config: ModelConfig, vocabulary: Path | None) -> Path:
    """The directory of the same model in `folder`, for many processes: the first one writes it, and none changes it.
    It is whole as soon as it is there."""
    directory = folder / f"{config.name}-{zlib.crc32(repr(config).encode()):08x}"
    if not directory.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as new:
            written = write_model(Path(new) / "model", config, vocabulary)
            try:
                written.rename(directory)
            except OSError:
                if not directory.is_dir():  # another process was not the first
                    raise
    return directory


def _nested(states: Mapping[str, Mapping[str, Tensor]], sections: Mapping[str, Section]) -> dict:
    """The state dicts of a checkpoint where its sections say that they are."""
    content: dict = {}
    for name, state in states.items():
        into = content
        for key in sections[name].path:
            into = into.setdefault(key, {})
        into.update(state)
    return content
