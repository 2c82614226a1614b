"""Noise off a reference clip, by the denoiser a model's configuration names (`reference.denoiser`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.audio import resample


class Network(Protocol):
    """What cleans a wave at its own rate: float32 [T] on the CPU in, the same shape out, aligned, at its level.

    warms: whether the first call costs more than the next."""

    sample_rate: int
    warms: bool

    def __call__(self, wave: Tensor) -> Tensor: ...


class Denoiser:
    """Loaded once, then called with a clip: float32 [1, T] at any rate in, the same shape and rate out.

    The output is sample-aligned with the input and keeps its level. The same input gives the same output."""

    def __init__(self, network: Network):
        self.network = network

    @torch.no_grad()
    def __call__(self, samples: Tensor, sample_rate: int) -> Tensor:
        if samples.ndim != 2 or samples.shape[0] != 1 or samples.shape[1] == 0:
            raise ValueError(f"denoise: samples are {list(samples.shape)}, allowed is [1, T] with T > 0")
        length = samples.shape[1]
        wave = resample(samples.cpu().float(), sample_rate, self.network.sample_rate)[0]
        clean = resample(self.network(wave)[None], self.network.sample_rate, sample_rate)
        return F.pad(clean[:, :length], (0, max(0, length - clean.shape[1]))).to(samples.device)


def load_mossformer2(weights: Path, device: torch.device | str) -> Network | None:
    """None where the weights directory does not hold its files."""
    from enhance import mossformer2

    return mossformer2.MossFormer2(weights, device) if mossformer2.available(weights) else None


def load_deepfilternet3(weights: Path, device: torch.device | str) -> Network:
    """It comes with its package, whatever the weights directory holds, and runs on the CPU."""
    from enhance import deepfilternet3

    return deepfilternet3.DeepFilterNet3()


# Each is imported as it is loaded, in setup(): a model pays for no other denoiser than its own.
LOADERS: dict[str, Callable[[Path, torch.device | str], Network | None]] = {
    "mossformer2": load_mossformer2,
    "deepfilternet3": load_deepfilternet3,
}


def load_denoiser(name: str, weights: Path, device: torch.device | str = "cpu") -> Denoiser | None:
    """The denoiser `name`; None where it needs files that the weights directory does not hold. Raises ValueError for
    another name, or when what is there cannot be used."""
    if name not in LOADERS:
        raise ValueError(f"denoiser is '{name}', allowed: {', '.join(LOADERS)}")
    network = LOADERS[name](weights, device)
    return None if network is None else Denoiser(network)
