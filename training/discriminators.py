"""Small discriminators of waves, by period (HiFi-GAN, Kong et al. 2020) and by spectral resolution (UnivNet, Jang et al.
2021), and the adversarial stage of the vocoder that trains against them.

Axes: B batch, C mel channels, F mel frames, T samples.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import ModelConfig
from training.device import device_type
from training.features import Arrays
from training.vocoder import VocoderOptions, VocoderStage

SLOPE = 0.1
PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = (512, 1024, 2048)  # FFT sizes; the hop is a quarter
GAIN = 10.0  # of the waves before they are judged: speech of the corpus has a root mean square of 0.07
COMPRESSION = 0.5  # power of the magnitudes that are judged, so that quiet parts count
QUIETEST = 1e-5  # magnitude

Judgement = tuple[Tensor, list[Tensor]]  # score, and what every layer made of the wave


class Discriminator(nn.Module):
    """Strided convolutions over a picture of the wave, and one that is not strided."""

    def __init__(
        self,
        pictures: int,
        widths: Sequence[int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        last: tuple[int, int],
    ):
        super().__init__()
        width = widths[-1]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, _half(kernel))
            for before, after in itertools.pairwise((pictures, *widths))
        )
        self.layers.append(nn.Conv2d(width, width, last, padding=_half(last)))
        self.score = nn.Conv2d(width, 1, last, padding=_half(last))

    def judge(self, x: Tensor) -> Judgement:
        """x [B, pictures, height, width]."""
        features = []
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.score(x), features


def _half(kernel: tuple[int, int]) -> tuple[int, int]:
    return kernel[0] // 2, kernel[1] // 2


class PeriodDiscriminator(Discriminator):
    """Sees every `period`-th sample in a column."""

    def __init__(self, period: int, widths: Sequence[int]):
        super().__init__(1, widths, kernel=(5, 1), stride=(3, 1), last=(3, 1))
        self.period = period

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T]."""
        wave = F.pad(wave[:, None], (0, -wave.shape[-1] % self.period), mode="reflect")
        return self.judge(wave.unflatten(-1, (-1, self.period)))


class ResolutionDiscriminator(Discriminator):
    """Sees the complex spectrum at one FFT size, its magnitudes compressed: phases are judged too."""

    window: Tensor

    def __init__(self, size: int, widths: Sequence[int]):
        super().__init__(2, widths, kernel=(3, 9), stride=(1, 2), last=(3, 3))
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Tensor) -> Judgement:
        """wave [B, T]."""
        with torch.autocast(device_type(), enabled=False):
            spectrum = torch.stft(
                wave.float(),
                self.size,
                self.size // 4,
                self.size,
                self.window,
                normalized=True,
                return_complex=True,
            )
            scale = spectrum.abs().clamp(min=QUIETEST) ** (COMPRESSION - 1)
            picture = torch.stack([spectrum.real, spectrum.imag], dim=1) * scale[:, None]
        return self.judge(picture.transpose(2, 3))


class Discriminators(nn.Module):
    def __init__(self, period_widths: Sequence[int], resolution_widths: Sequence[int]):
        super().__init__()
        self.all = nn.ModuleList(
            [PeriodDiscriminator(period, period_widths) for period in PERIODS]
            + [ResolutionDiscriminator(size, resolution_widths) for size in RESOLUTIONS]
        )

    def forward(self, wave: Tensor) -> list[Judgement]:
        """wave [B, T]."""
        return [discriminator(GAIN * wave) for discriminator in self.all]


def discriminator_loss(wanted: list[Judgement], made: list[Judgement]) -> Tensor:
    """Least squares: 1 for speech, 0 for what was made; the mean over all discriminators."""
    return sum(
        (1 - a.float()).square().mean() + b.float().square().mean()
        for (a, _), (b, _) in zip(wanted, made, strict=True)
    ) / len(made)


def adversarial_loss(made: list[Judgement]) -> Tensor:
    """Least squares: what was made should be judged 1."""
    return sum((1 - score.float()).square().mean() for score, _ in made) / len(made)


def feature_loss(wanted: list[Judgement], made: list[Judgement]) -> Tensor:
    """Mean L1 between what the layers make of both."""
    pairs = [pair for (_, a), (_, b) in zip(wanted, made, strict=True) for pair in zip(a, b, strict=True)]
    return sum(F.l1_loss(b.float(), a.detach().float()) for a, b in pairs) / len(pairs)


@dataclasses.dataclass(frozen=True)
class AdversarialOptions(VocoderOptions):
    """Weights of what the discriminators add, the step from which on they take part, and the channels of their layers."""

    adversarial_weight: float
    feature_weight: float
    adversarial_from: int
    period_widths: tuple[int, ...]
    resolution_widths: tuple[int, ...]


class Adversaries(nn.Module):
    """The vocoder and those who judge it."""

    def __init__(self, vocoder: nn.Module, discriminators: Discriminators):
        super().__init__()
        self.vocoder, self.discriminators = vocoder, discriminators


class AdversarialStage(VocoderStage):
    """The vocoder's losses and the discriminators', in one step: each side sees the other's weights as constants."""

    def __init__(self, config: ModelConfig, options: AdversarialOptions, clips: Mapping[int, Arrays]):
        super().__init__(config, options, clips)
        judges = Discriminators(options.period_widths, options.resolution_widths)
        self.module = Adversaries(self.module, judges.to(memory_format=torch.channels_last))

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        options, discriminators = self.options, self.module.discriminators
        mel, wave = self.draw(rng)
        made = self.module.vocoder(mel).float()
        losses = self.distances(made, wave)
        total = self.weighted(losses)
        if step < options.adversarial_from:
            return {"loss": total, **losses}
        # their convolutions crawl in bf16 on a CPU without AMX
        with torch.autocast(device_type(), torch.bfloat16, enabled=device_type() == "cuda"):
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
