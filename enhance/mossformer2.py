"""MossFormer2_SE_48K, a denoiser: a network that predicts a mask on the spectrum.

Network and recipe are those of the `clearvoice` package (0.1.2, config/inference/MossFormer2_SE_48K.yaml and
utils/decode.py). Not taken from it: its loader, which downloads, skips keys and falls back to random weights; its
random dither; its hard cuts between windows; and its framing, which leaves up to 8 ms at the end silent.

Axes: T samples, F frames (125 a second), M mask bins (961).
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.checkpoints import Checkpoint, Section
from pipeline.loading import check_keys, is_constant, read_checkpoint
from pipeline.state_dict import CheckpointError

logger = logging.getLogger(__name__)

DIRECTORY = "MossFormer2_SE_48K"
POINTER = "last_best_checkpoint"  # a text file that names the checkpoint
COMPUTED = "inv_freq"  # besides pipeline.loading.CONSTANTS: computed by the network, in the file or not


@dataclass(frozen=True)
class Recipe:
    """Numbers the published weights were trained with, and how long clips are divided."""

    sample_rate: int = 48_000
    n_fft: int = 1920
    hop: int = 384
    mel_bins: int = 60
    full_scale: float = 32_768.0  # the network hears 16-bit integers
    dither: float = 1.0  # of one such integer
    dither_seed: int = 0
    channels: int = 512
    blocks: int = 24
    window_seconds: float = 20.0  # up to here in one pass, as clearvoice does
    overlap_seconds: float = 1.0


class MaskNetwork(nn.Module):
    """clearvoice's network under the name its checkpoint's keys begin with."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        with warnings.catch_warnings():  # the package switches all warnings off as it is imported, in seconds
            from clearvoice.models.mossformer2_se.mossformer2 import MossFormer_MaskNet
        features = 3 * recipe.mel_bins  # with first and second differences
        self.mossformer = MossFormer_MaskNet(
            in_channels=features,
            out_channels=recipe.channels,
            out_channels_final=recipe.n_fft // 2 + 1,
            num_blocks=recipe.blocks,
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, 3 · mel_bins] -> mask [B, F, M], 0 or more."""
        return self.mossformer(features.transpose(1, 2))


class MossFormer2:
    """Loaded once, then called with a wave: float32 [T] at `sample_rate` in, the same shape out, aligned, at its level.

    Besides a few copies of the wave, memory is that of one window, whatever the length. The same input gives the same
    output.

    weights: directory with `MossFormer2_SE_48K/last_best_checkpoint` and the file that names (or a
    `.safetensors` copy beside it). Raises CheckpointError, a ValueError, when one is absent or does not fit.
    """

    warms = True

    def __init__(self, weights: Path, device: torch.device | str = "cpu", recipe: Recipe = Recipe()):
        self.recipe = recipe
        self.sample_rate = recipe.sample_rate
        self.device = torch.device(device)
        self.network = load_network(Path(weights) / DIRECTORY, recipe).to(self.device)

    @torch.no_grad()
    def __call__(self, wave: Tensor) -> Tensor:
        wave = wave.to(self.device)
        total, weight = torch.zeros_like(wave), torch.zeros_like(wave)
        overlap = round(self.recipe.overlap_seconds * self.recipe.sample_rate)
        for start, end in windows(
            len(wave), round(self.recipe.window_seconds * self.recipe.sample_rate), overlap
        ):
            fade = crossfade(end - start, overlap if start > 0 else 0, overlap if end < len(wave) else 0)
            fade = fade.to(wave.device)
            total[start:end] += fade * apply_mask(self.network, wave[start:end], self.recipe)
            weight[start:end] += fade
        return (total / weight).cpu()


def apply_mask(network: nn.Module, wave: Tensor, recipe: Recipe) -> Tensor:
    """One window [T] through the network -> [T]. Silence is put around it, so that every sample lies under
    as many frames as any other and the last ones are in a frame at all."""
    before = recipe.n_fft - recipe.hop
    frames = math.ceil((before + len(wave)) / recipe.hop)
    after = (frames - 1) * recipe.hop + recipe.n_fft - before - len(wave)
    padded = F.pad(wave * recipe.full_scale, (before, after))
    mask = network(mask_features(padded, recipe)[None])[0]  # [F, M]
    window = torch.hamming_window(recipe.n_fft, periodic=False, device=wave.device)
    spectrum = torch.stft(padded, recipe.n_fft, recipe.hop, window=window, center=False, return_complex=True)
    clean = torch.istft(spectrum * mask.T, recipe.n_fft, recipe.hop, window=window, center=False)
    return clean[before : before + len(wave)] / recipe.full_scale


def mask_features(wave: Tensor, recipe: Recipe) -> Tensor:
    """Filter bank with first and second differences: [T] in 16-bit scale -> [F, 3 · mel_bins].

    The dither the network was trained with is drawn from a generator of its own: same clip, same features."""
    generator = torch.Generator().manual_seed(recipe.dither_seed)
    dither = recipe.dither * torch.randn(len(wave), generator=generator).to(wave.device)
    to_ms = 1000 / recipe.sample_rate
    bank = torchaudio.compliance.kaldi.fbank(
        (wave + dither)[None],
        dither=0.0,
        num_mel_bins=recipe.mel_bins,
        sample_frequency=recipe.sample_rate,
        frame_length=recipe.n_fft * to_ms,
        frame_shift=recipe.hop * to_ms,
        window_type="hamming",
    )
    delta = torchaudio.functional.compute_deltas(bank.T)
    return torch.cat([bank, delta.T, torchaudio.functional.compute_deltas(delta).T], dim=1)


def windows(length: int, window: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Bounds of equally long windows of at most `window` that cover `length`, neighbours sharing `overlap`."""
    count = max(1, math.ceil((length - overlap) / (window - overlap)))
    size = math.ceil((length + (count - 1) * overlap) / count)
    for index in range(count):
        start = index * (size - overlap)
        yield start, min(length, start + size)


def crossfade(length: int, fade_in: int, fade_out: int) -> Tensor:
    """[length] of ones with straight ramps at the ends, never 0."""
    weight = torch.ones(length)
    if fade_in:
        weight[:fade_in] = torch.arange(1, fade_in + 1) / (fade_in + 1)
    if fade_out:
        weight[-fade_out:] *= torch.arange(fade_out, 0, -1) / (fade_out + 1)
    return weight


def available(weights: Path) -> bool:
    """Whether a weights directory holds the denoiser's files."""
    return (weights / DIRECTORY / POINTER).is_file()


def load_network(directory: Path, recipe: Recipe) -> nn.Module:
    """The network in eval mode on the CPU. Raises CheckpointError naming what is absent or does not fit."""
    pointer = directory / POINTER
    if not pointer.is_file():
        raise CheckpointError(f"denoise needs the weights of {DIRECTORY}: no file {POINTER} in {directory}")
    name = (pointer.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[0].strip()
    if not name or Path(name).name != name:
        raise CheckpointError(f"{POINTER} names '{name}', allowed is the name of a file beside it")
    published = Checkpoint(name, {"": Section(path=("model",), optional_path=True)})
    state = read_checkpoint(directory, published)[""]
    network = MaskNetwork(recipe)  # not on meta: it computes constants and caches as it is made
    constants: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    for key, tensor in network.state_dict().items():
        (constants if _is_computed(key) else wanted)[key] = tensor
    offered = {key: tensor for key, tensor in state.tensors.items() if not _is_computed(key)}
    check_keys(wanted, offered, state)
    network.load_state_dict(constants | {key: offered[key] for key in wanted}, strict=True)
    logger.info("denoiser loaded from %s", state.source)
    return network.eval().requires_grad_(False)


def _is_computed(key: str) -> bool:
    return is_constant(key) or key.endswith("." + COMPUTED)
