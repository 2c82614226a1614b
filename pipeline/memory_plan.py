"""How much of a GPU's memory a model takes: weights, what a sequence's cache takes, and what else is held at most.

Weights and caches are counted from the shapes of the modules and buffers themselves, without making them; the scratch
memory of a stage is its largest tensors, by the sizes that the stages have at once. What PyTorch and CUDA keep for
themselves (context, libraries, fragments) is a fixed allowance, unverified.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline import gpu
from pipeline.checkpoints import LAYOUTS
from pipeline.config import ModelConfig
from pipeline.gpt.device import DeviceDecoder, longest_prompt
from pipeline.loading import NoInitialValues
from pipeline.model import MODULES

GIB = 1 << 30
ALLOWANCE = 1.2 * GIB  # CUDA's context and libraries, recorded graphs, fragments
SCRATCH_TENSORS = 6  # of a stage's largest activation that are alive at once
INT8_BYTES, HALF_BYTES, FLOAT_BYTES = 1, 2, 4


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes."""

    weights: int
    sequence: int  # of each sequence that is decoded at once
    scratch: int  # of the flow or of the vocoder, whichever takes more

    @property
    def fixed(self) -> int:
        """Without any sequence."""
        return int(self.weights + self.scratch + ALLOWANCE)

    def sequences(self, memory: int) -> int:
        """How many sequences a card with so many bytes decodes at once."""
        return max(0, (memory - self.fixed) // self.sequence)


def module_bytes(module: nn.Module) -> int:
    """Of parameters and of buffers, computed ones among them."""
    return sum(t.nbytes for t in (*module.parameters(), *module.buffers()))


def weight_bytes(config: ModelConfig, precision: str) -> int:
    """Of all modules as `pipeline.gpu` keeps them."""
    total = 0
    for (checkpoint, section), make in MODULES.items():
        if section not in LAYOUTS[config.layout][checkpoint].sections:
            continue
        with torch.device("meta"), NoInitialValues():
            module = make(config)
        module.to(gpu.load_dtype(precision, checkpoint, config.gpt.half))
        if checkpoint != "vocoder":  # whose precision changes no tensor
            gpu.apply_precision(precision, module)
        total += module_bytes(module)
    rows = sum(config.emotion.rows)
    stats = 2 * config.semantic.hidden_size
    return total + FLOAT_BYTES * (rows * (config.speaker.style_dim + config.gpt.model_dim) + stats)


def sequence_bytes(config: ModelConfig, precision: str, beams: int, max_codes: int) -> int:
    """Cache, history and tables of one sequence of the device's decoder with room for the longest prompt."""
    dtype = gpu.load_dtype(precision, "gpt", config.gpt.half)
    return DeviceDecoder.bytes(config.gpt, 1, beams, max_codes, longest_prompt(config.gpt), dtype)


def scratch_bytes(config: ModelConfig, frames: int) -> int:
    """Of a guided step of the flow, or of the vocoder, over so many mel frames."""
    dit = config.s2mel.dit
    flow = 2 * frames * max(4 * dit.hidden_dim, 2 * config.s2mel.wavenet.hidden_dim)
    channels, length, wave = config.vocoder.upsample_initial_channel, frames, 0
    for rate in config.vocoder.upsample_rates:
        channels, length = channels // 2, length * rate
        wave = max(wave, channels * length)
    return SCRATCH_TENSORS * FLOAT_BYTES * max(flow, wave)


def plan(config: ModelConfig, precision: str, beams: int, max_codes: int) -> MemoryPlan:
    """For sequences of at most `max_codes` codes behind the longest reference."""
    seconds = config.reference.max_seconds
    reference = int(seconds * config.audio.sample_rate / config.audio.hop_length)
    frames = reference + int(config.s2mel.regulator.frames_per_code * max_codes)
    return MemoryPlan(
        weight_bytes(config, precision),
        sequence_bytes(config, precision, beams, max_codes),
        scratch_bytes(config, frames),
    )
