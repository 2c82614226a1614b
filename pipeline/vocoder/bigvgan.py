"""BigVGAN v2: mel -> waveform. Axes: B batch, C channels, T time.

Source: "BigVGAN: A Universal Neural Vocoder with Large-Scale Training" (Lee et al., 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import VocoderConfig
from pipeline.loading import Constants

KERNEL = 7  # first and last convolution
FILTER_TAPS = 12
FILTER_CUTOFF = 0.25  # of the doubled rate
FILTER_BETA = 4.6638
UP_PAD, UP_CROP = 5, 15
DOWN_PAD = (5, 6)
SNAKE_EPS = 1e-9


def lowpass_filter() -> Tensor:
    """Kaiser-windowed sinc [taps], summing to 1."""
    t = torch.arange(FILTER_TAPS, dtype=torch.float32) - (FILTER_TAPS - 1) / 2
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=FILTER_BETA)
    taps = 2 * FILTER_CUTOFF * window * torch.sinc(2 * FILTER_CUTOFF * t)
    return taps / taps.sum()


class SnakeBeta(nn.Module):
    """x + sin²(x·eᵅ) / eᵝ, per channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:  # [B, C, T]
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(x * alpha).square() / (beta + SNAKE_EPS)


class AntiAliasedSnake(Constants):
    """SnakeBeta at twice the rate, so that the harmonics it makes do not fold back."""

    filter: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.act = SnakeBeta(channels)
        self.init_constants()

    def constants(self) -> dict[str, Tensor]:
        return {"filter": lowpass_filter()}

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        taps = self.filter.to(x.dtype).expand(channels, 1, -1)
        up = F.pad(x, (UP_PAD, UP_PAD), mode="replicate")
        up = 2 * F.conv_transpose1d(up, taps, stride=2, groups=channels)[..., UP_CROP:-UP_CROP]
        down = F.pad(self.act(up), DOWN_PAD, mode="replicate")
        return F.conv1d(down, taps, stride=2, groups=channels)


def ended(x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """x [B, C, T] with zeros, which convolutions see after an end, from each row's own end on."""
    if lengths is None:
        return x
    ends = torch.tensor(lengths, device=x.device)[:, None, None]
    return x * (torch.arange(x.shape[2], device=x.device) < ends)


def activate(act: nn.Module, x: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """An activation, which sees its last value go on after an end, of rows each with its own end; zeros after it."""
    if lengths is None:
        return act(x)
    y = torch.zeros_like(x)
    for row, length in enumerate(lengths):
        y[row, :, :length] = act(x[row : row + 1, :, :length])[0]
    return y


class AMPBlock(nn.Module):
    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]):
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )
        self.activations = nn.ModuleList(AntiAliasedSnake(channels) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        for k, (dilated, plain) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            h = dilated(activate(self.activations[2 * k], x, lengths))
            x = plain(activate(self.activations[2 * k + 1], h, lengths)).add_(x)
        return x


class BigVGAN(nn.Module):
    """`forward`: log-mel [B, num_mels, T] -> wave [B, T · hop] in [-1, 1]. lengths: frames of each row, where they
    differ; a row's wave is that of the row alone, and of no meaning after its end."""

    def __init__(self, config: VocoderConfig):
        super().__init__()
        channels = config.upsample_initial_channel
        self.kernels = len(config.resblock_kernel_sizes)
        self.conv_pre = nn.Conv1d(config.num_mels, channels, KERNEL, padding=KERNEL // 2)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            self.ups.append(
                nn.ModuleList(
                    [nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)]
                )
            )
            channels //= 2
            self.resblocks.extend(
                AMPBlock(channels, size, dilations)
                for size, dilations in zip(
                    config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
                )
            )
        self.activation_post = AntiAliasedSnake(channels)
        self.conv_post = nn.Conv1d(channels, 1, KERNEL, padding=KERNEL // 2, bias=False)

    def forward(self, mel: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        x = self.conv_pre(ended(mel, lengths))
        for stage, ups in enumerate(self.ups):
            before = x.shape[2]
            (up,) = ups.children()
            x = up(ended(x, lengths))
            if lengths is not None:
                lengths = [length * (x.shape[2] // before) for length in lengths]
            blocks = self.resblocks[stage * self.kernels : (stage + 1) * self.kernels]
            x = sum(block(x, lengths) for block in blocks) / self.kernels
        return self.conv_post(activate(self.activation_post, x, lengths))[:, 0].clamp(-1, 1)
