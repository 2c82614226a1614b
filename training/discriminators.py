"""Small discriminators of waves, by period (HiFi-GAN, Kong et al. 2020) and by spectral resolution (UnivNet, Jang et al.
2021), and the adversarial stage of the vocoder that trains against them.

Axes: B batch, C mel channels, F mel frames, T samples.
"""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import ModelConfig
from training.device import device_type
from training.features import Arrays
from training.vocoder import VocoderOptions, VocoderStage, magnitude

SLOPE = 0.1
PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (512, 1024, 2048)  # FFT sizes; the hop is a quarter
PERIOD_WIDTHS = (32, 96, 192)
RESOLUTION_WIDTHS = (16, 32, 64)

Judgement = tuple[Tensor, list[Tensor]]  # score, and what every layer made of the wave


class Discriminator(nn.Module):
    """Strided convolutions over a picture of the wave."""

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], widths: tuple[int, ...]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, padding)
            for before, after in itertools.pairwise((1, *widths))
        )
        self.score = nn.Conv2d(widths[-1], 1, kernel, padding=padding)

    def judge(self, x: Tensor) -> Judgement:
        """x [B, 1, height, width]."""
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.score(x), features


class PeriodDiscriminator(Discriminator):
    """Sees every `period`-th sample in a column."""

    def __init__(self, period: int):
        super().__init__((5, 1), (3, 1), PERIOD_WIDTHS)
        self.period = period

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T]."""
        wave = F.pad(wave[:, None], (0, -wave.shape[-1] % self.period), mode="reflect")
        return self.judge(wave.unflatten(-1, (-1, self.period)))


class ResolutionDiscriminator(Discriminator):
    """Sees magnitudes at one FFT size."""

    def __init__(self, size: int):
        super().__init__((3, 5), (1, 2), RESOLUTION_WIDTHS)
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T]."""
        return self.judge(magnitude(wave, self.size, self.window)[:, None])


class Discriminators(nn.Module):
    def __init__(self):
        super().__init__()
        self.all = nn.ModuleList(
            [*map(PeriodDiscriminator, PERIODS), *map(ResolutionDiscriminator, RESOLUTIONS)]
        )

    def forward(self, wave: Tensor) -> list[Judgement]:
        return [discriminator(wave) for discriminator in self.all]


def discriminator_loss(wanted: list[Judgement], made: list[Judgement]) -> Tensor:
    """Least squares: 1 for speech, 0 for what was made; the mean over all discriminators."""
    return sum(
        (1 - a).square().mean() + b.square().mean() for (a, _), (b, _) in zip(wanted, made, strict=True)
    ) / len(made)


def adversarial_loss(made: list[Judgement]) -> Tensor:
    """Least squares: what was made should be judged 1."""
    return sum((1 - score).square().mean() for score, _ in made) / len(made)


def feature_loss(wanted: list[Judgement], made: list[Judgement]) -> Tensor:
    """Mean L1 between what the layers make of both."""
    pairs = [pair for (_, a), (_, b) in zip(wanted, made, strict=True) for pair in zip(a, b, strict=True)]
    return sum(F.l1_loss(b, a.detach()) for a, b in pairs) / len(pairs)


@dataclasses.dataclass(frozen=True)
class AdversarialOptions(VocoderOptions):
    """Weights of what the discriminators add, and the step from which on they take part."""

    adversarial_weight: float
    feature_weight: float
    adversarial_from: int


class Adversaries(nn.Module):
    """The vocoder and those who judge it."""

    def __init__(self, vocoder: nn.Module):
        super().__init__()
        self.vocoder, self.discriminators = vocoder, Discriminators()


class AdversarialStage(VocoderStage):
    """The vocoder's losses and the discriminators', in one step: each side sees the other's weights as constants."""

    def __init__(self, config: ModelConfig, options: AdversarialOptions, clips: Mapping[int, Arrays]):
        super().__init__(config, options, clips)
        self.module = Adversaries(self.module)

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        options, discriminators = self.options, self.module.discriminators
        mel, wave = self.draw(rng)
        made = self.module.vocoder(mel).float()
        losses = self.distances(made, wave)
        total = self.weighted(losses)
        if step < options.adversarial_from:
            return {"loss": total, **losses}
        with torch.autocast(
            device_type(), enabled=False
        ):  # their convolutions crawl in bf16 where there is no AMX
            wanted = discriminators(wave)
            losses["judged"] = discriminator_loss(wanted, discriminators(made.detach()))
            fixed = {name: parameter.detach() for name, parameter in discriminators.named_parameters()}
            judged = torch.func.functional_call(discriminators, fixed, (made,))
            losses["adversarial"], losses["feature"] = adversarial_loss(judged), feature_loss(wanted, judged)
        total = total + losses["judged"] + options.adversarial_weight * losses["adversarial"]
        total = total + options.feature_weight * losses["feature"]
        return {"loss": total, **losses}


def vocoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vocoder's part of the stage's state dict."""
    return {key.removeprefix("vocoder."): value for key, value in state.items() if key.startswith("vocoder.")}
