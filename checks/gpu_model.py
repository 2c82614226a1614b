"""Modules with random weights made on the device itself, and the sentence that `script/gpu-check` speaks with them.

Needs PyTorch, numpy, PyYAML and safetensors: nothing that reads audio or text.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from checks.golden import module_dtype, with_precision
from checks.heads import ShiftedHead
from pipeline.config import ModelConfig
from pipeline.deterministic import SPREAD
from pipeline.gpt.device import DeviceDecoders
from pipeline.gpt.sampling import SamplingOptions
from pipeline.loading import Constants, NoInitialValues, is_constant
from pipeline.model import MODULES
from pipeline.s2mel.player import FlowPlayer

NEVER = -1e4  # shift of the stop token's logit
REFERENCE_FRAMES = 430  # 5 s
REFERENCE_CODES = 250
TEXT_TOKENS = 40


def fill(key: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Random values of the scale that `pipeline.deterministic` gives a tensor, drawn where they are needed."""
    generator = torch.Generator(device).manual_seed(zlib.crc32(key.encode()))
    normal = torch.randn(shape, generator=generator, device=device)
    last = key.rsplit(".", 1)[-1]
    if last == "running_var":
        return 1 + SPREAD * normal.abs()
    if len(shape) <= 1:
        return SPREAD * normal + (1 if last in ("weight", "gamma") else 0)
    return normal / float(np.sqrt(np.prod(shape[1:])))


def random_module(
    config: ModelConfig, checkpoint: str, section: str, device: torch.device, precision: str
) -> nn.Module:
    """A module as `load_model` would make it, with random weights."""
    with torch.device("meta"), NoInitialValues():
        module = MODULES[checkpoint, section](config)
    dtype = module_dtype(config, checkpoint, device, precision)
    filled = {}
    for key, blank in module.state_dict().items():
        if is_constant(key) or not blank.is_floating_point():
            filled[key] = torch.zeros(blank.shape, dtype=blank.dtype, device=device)
        else:
            filled[key] = fill(key, tuple(blank.shape), device).to(dtype)
    module.load_state_dict(filled, strict=True, assign=True)
    for part in module.modules():
        if isinstance(part, Constants):
            part.init_constants(device)
    return with_precision(module.eval().requires_grad_(False), checkpoint, device, precision)


@dataclass(frozen=True)
class Speaker:
    """The stages that speak, and a voice and a text that are noise."""

    config: ModelConfig
    device: torch.device
    gpt: nn.Module
    projection: nn.Module
    regulator: nn.Module
    codec: nn.Module
    dit: nn.Module
    vocoder: nn.Module
    decoders: DeviceDecoders
    flow: FlowPlayer
    prompt: Tensor  # [1, P, D]
    reference_mel: Tensor  # [1, C, R]
    style: Tensor

    @classmethod
    def make(cls, config: ModelConfig, device: torch.device, precision: str) -> Speaker:
        """Never stops by itself: how much is made is for the caller to say."""

        def module(checkpoint: str, section: str = "") -> nn.Module:
            return random_module(config, checkpoint, section, device, precision)

        gpt, dit = module("gpt"), module("s2mel", "cfm").estimator
        gpt.mel_head = ShiftedHead(gpt.mel_head, config.gpt.stop_mel_token, NEVER)
        generator = torch.Generator(device).manual_seed(1)
        dtype, width = gpt.mel_embedding.weight.dtype, config.gpt.model_dim

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, device=device)

        with torch.inference_mode():
            prompt = gpt.prompt_inputs(
                noise(1, config.gpt.speaker_rows, width).to(dtype),
                noise(1, width).to(dtype),
                torch.arange(2, 2 + TEXT_TOKENS, device=device)[None],
            )
        return cls(
            config,
            device,
            gpt,
            module("s2mel", "gpt_layer"),
            module("s2mel", "length_regulator"),
            module("codec"),
            dit,
            module("vocoder"),
            DeviceDecoders(gpt),
            FlowPlayer(dit, device),
            prompt,
            noise(1, config.audio.n_mels, REFERENCE_FRAMES) - 3,
            noise(1, config.speaker.style_dim),
        )

    def options(self, beams: int, codes: int, sample: bool = True) -> SamplingOptions:
        s = self.config.synthesis
        return SamplingOptions(
            sample,
            s.temperature,
            s.top_k,
            s.top_p,
            beams,
            s.repetition_penalty,
            s.length_penalty,
            codes,
            "trained",
        )

    @torch.inference_mode()
    def mel(self, codes: Tensor, latents: Tensor, steps: int, on_step=lambda step: None) -> Tensor:
        """Codes [n] and latents [n, D] -> mel [1, C, F]."""
        config = self.config
        frames = int(config.s2mel.regulator.frames_per_code * len(codes))
        embedded = self.codec.vq2emb(codes[None] % config.codec.codebook_size)
        condition = self.regulator(embedded + self.projection(latents[None].float()), frames)
        whole = torch.cat([condition.new_zeros(1, REFERENCE_FRAMES, condition.shape[-1]), condition], dim=1)
        generator = torch.Generator(self.device).manual_seed(2)
        start = torch.randn(1, config.audio.n_mels, whole.shape[1], generator=generator, device=self.device)
        return self.flow.solve(
            start, self.reference_mel, whole, self.style, steps, config.synthesis.cfg_rate, 0.0, on_step
        )

    @torch.inference_mode()
    def speak(self, beams: int, steps: int, codes: int, seed: int = 0) -> Tensor:
        """One segment of `codes` codes -> wave [T] on the host."""
        generator = torch.Generator().manual_seed(seed)
        decoded = self.decoders.decode(self.prompt, self.options(beams, codes), generator)
        return self.vocoder(self.mel(decoded.codes, decoded.latents, steps))[0].float().cpu()

    def without_graphs(self) -> Speaker:
        """The same, every kernel launched by the host."""
        decoders, flow = (
            DeviceDecoders(self.gpt, graphs=False),
            FlowPlayer(self.dit, self.device, graphs=False),
        )
        return replace(self, decoders=decoders, flow=flow)
