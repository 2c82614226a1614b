"""The DiT's output network: gated convolutions under one time embedding. Axes: B batch, C channels, T frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import WaveNetConfig


class NestedConv(nn.Module):
    """A convolution two attributes deep (`X.conv.conv.weight`), as published; reflect padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1):
        super().__init__()
        self.conv = nn.ModuleDict({"conv": nn.Conv1d(inputs, outputs, kernel, dilation=dilation)})
        self.pad = dilation * (kernel - 1) // 2

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x [B, C, T]; lengths [B]: of the rows that end before T, each reflected at its own end."""
        if not self.pad:
            return self.conv["conv"](x)
        if lengths is None:
            return self.conv["conv"](F.pad(x, (self.pad, self.pad), mode="reflect"))
        places = torch.arange(-self.pad, x.shape[2] + self.pad, device=x.device).abs()
        last = lengths[:, None] - 1
        places = torch.where(places > last, 2 * last - places, places).clamp(min=0)
        return self.conv["conv"](x.gather(2, places[:, None].expand(-1, x.shape[1], -1)))


class WaveNet(nn.Module):
    """x [B, C, T], time embedding g [B, E] -> sum of the layers' skip outputs [B, C, T]."""

    def __init__(self, config: WaveNetConfig, embedding_dim: int):
        super().__init__()
        width, layers = config.hidden_dim, config.num_layers
        self.cond_layer = NestedConv(embedding_dim, 2 * width * layers, 1)
        self.in_layers = nn.ModuleList(
            NestedConv(width, 2 * width, config.kernel_size, config.dilation_rate**i) for i in range(layers)
        )
        self.res_skip_layers = nn.ModuleList(
            NestedConv(width, 2 * width if i < layers - 1 else width, 1) for i in range(layers)
        )

    @property
    def reach(self) -> int:
        """How many frames on either side an output depends on."""
        return sum(layer.pad for layer in self.in_layers if isinstance(layer, NestedConv))

    def forward(self, x: Tensor, g: Tensor, lengths: Tensor | None = None) -> Tensor:
        """lengths [B]: of the rows, where they differ; what comes after a row's end is of no meaning."""
        conditions = self.cond_layer(g[..., None]).chunk(len(self.in_layers), dim=1)
        output = torch.zeros_like(x)
        for condition, in_layer, res_skip in zip(
            conditions, self.in_layers, self.res_skip_layers, strict=True
        ):
            filtered, gate = (in_layer(x, lengths) + condition).chunk(2, dim=1)
            h = res_skip(torch.tanh(filtered) * torch.sigmoid(gate))
            if h.shape[1] > x.shape[1]:
                residual, h = h.chunk(2, dim=1)
                x = x + residual
            output = output + h
        return output
