"""CAMPPlus speaker encoder: kaldi filter bank -> style vector.

Source: "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking"
(Wang et al., 2023). Axes: B batch, C channels, F frequency, T time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import SpeakerConfig

HEAD_STAGES = 2
BLOCKS_PER_STAGE = 2


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions; `stride` is along frequency only."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


class Head(nn.Module):
    """[B, F, T] -> [B, channels · F/8, T]."""

    def __init__(self, config: SpeakerConfig):
        super().__init__()
        channels = config.head_channels
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage in range(1, HEAD_STAGES + 1):
            blocks = [ResidualBlock(channels, 2 if i == 0 else 1) for i in range(BLOCKS_PER_STAGE)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x[:, None])))
        for stage in range(1, HEAD_STAGES + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class NormRelu(nn.Module):
    def __init__(self, channels: int, affine: bool = True, relu: bool = True):
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels, affine=affine)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.batchnorm(x)
        return F.relu(x) if self.relu else x


class ContextAwareMask(nn.Module):
    """A local convolution gated by what the whole clip and the surrounding segment hold."""

    def __init__(self, config: SpeakerConfig, dilation: int):
        super().__init__()
        width, growth = config.bottleneck, config.growth
        self.segment = config.segment_frames
        self.linear_local = nn.Conv1d(
            width,
            growth,
            config.kernel,
            dilation=dilation,
            padding=dilation * (config.kernel // 2),
            bias=False,
        )
        self.linear1 = nn.Conv1d(width, width // 2, 1)
        self.linear2 = nn.Conv1d(width // 2, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = F.avg_pool1d(x, self.segment, self.segment, ceil_mode=True)
        local = means.repeat_interleave(self.segment, dim=-1)[..., : x.shape[-1]]
        context = x.mean(-1, keepdim=True) + local
        gate = torch.sigmoid(self.linear2(F.relu(self.linear1(context))))
        return self.linear_local(x) * gate


class DenseLayer(nn.Module):
    def __init__(self, channels: int, config: SpeakerConfig, dilation: int):
        super().__init__()
        self.nonlinear1 = NormRelu(channels)
        self.linear1 = nn.Conv1d(channels, config.bottleneck, 1, bias=False)
        self.nonlinear2 = NormRelu(config.bottleneck)
        self.cam_layer = ContextAwareMask(config, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))], dim=1)


class NormConv(nn.Module):
    """BN-ReLU and a 1×1 convolution, in the order the published transitions have."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.nonlinear = NormRelu(channels)
        self.linear = nn.Conv1d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.nonlinear(x))


class ConvNorm(nn.Module):
    def __init__(self, conv: nn.Conv1d, affine: bool, relu: bool):
        super().__init__()
        self.linear = conv
        self.nonlinear = NormRelu(conv.out_channels, affine, relu)

    def forward(self, x: Tensor) -> Tensor:
        return self.nonlinear(self.linear(x))


class StatisticsPooling(nn.Module):
    """Mean and unbiased standard deviation over time: [B, C, T] -> [B, 2C, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(-1), x.std(-1, unbiased=True)], dim=-1)[..., None]


class CAMPPlus(nn.Module):
    """`forward`: mean-subtracted filter bank [B, T, mel_bins] -> style [B, style_dim]."""

    def __init__(self, config: SpeakerConfig):
        super().__init__()
        self.head = Head(config)
        frequencies = config.mel_bins // 2 ** (HEAD_STAGES + 1)
        channels = config.tdnn_channels
        layers: dict[str, nn.Module] = {
            "tdnn": ConvNorm(
                nn.Conv1d(config.head_channels * frequencies, channels, 5, stride=2, padding=2, bias=False),
                True,
                True,
            )
        }
        for number, (depth, dilation) in enumerate(config.blocks, start=1):
            block = nn.Sequential()
            for layer in range(1, depth + 1):
                block.add_module(f"tdnnd{layer}", DenseLayer(channels, config, dilation))
                channels += config.growth
            layers[f"block{number}"] = block
            layers[f"transit{number}"] = NormConv(channels, channels // 2)
            channels //= 2
        layers["out_nonlinear"] = NormRelu(channels)
        layers["stats"] = StatisticsPooling()
        layers["dense"] = ConvNorm(nn.Conv1d(2 * channels, config.style_dim, 1, bias=False), False, False)
        self.xvector = nn.Sequential()
        for name, part in layers.items():
            self.xvector.add_module(name, part)

    def forward(self, bank: Tensor) -> Tensor:
        return self.xvector(self.head(bank.transpose(1, 2)))[..., 0]
