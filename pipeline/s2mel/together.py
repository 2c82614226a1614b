"""The flow of several segments in one batch, each with its own length.

Rows are padded to the longest; a mask keeps what is padded out of the attention, and the output network's convolutions
are reflected at each row's own end, so that a row's mel is that of the row alone but for rounding.

Axes: B rows, C mel channels, R reference frames, F target frames, T = R + F.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.s2mel.dit import DiT
from pipeline.s2mel.flow import guided, halves, swayed

MOST_PADDING = 0.15  # of a batch


@dataclass(frozen=True)
class FlowRow:
    """What `flow.solve` takes of one segment: noise [1, C, T], reference_mel [1, C, R], condition [1, T, content_dim],
    style [1, style_dim]."""

    noise: Tensor
    reference_mel: Tensor
    condition: Tensor
    style: Tensor

    @property
    def length(self) -> int:
        return self.noise.shape[-1]


def batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of `lengths`, the longest first, in batches of at most `most` of which MOST_PADDING at most is padding."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if (
            found
            and len(found[-1]) < most
            and padding([lengths[p] for p in [*found[-1], place]]) <= MOST_PADDING
        ):
            found[-1].append(place)
        else:
            found.append([place])
    return found


def padding(lengths: Sequence[int]) -> float:
    """The share of a batch that is padding."""
    whole = max(lengths) * len(lengths)
    return 1 - sum(lengths) / whole if whole else 0.0


def padded(parts: Sequence[Tensor], frames: int, axis: int) -> Tensor:
    """Rows [1, …] of one batch, with zeros up to `frames` along `axis` (1 or 2 of 3)."""
    behind = (0, 0) * (2 - axis)
    return torch.cat([F.pad(part, (*behind, 0, frames - part.shape[axis])) for part in parts])


@torch.inference_mode()
def solve_together(
    dit: DiT,
    rows: Sequence[FlowRow],
    steps: int,
    cfg_rate: float,
    sway: float = 0.0,
    on_step: Callable[[int], None] = lambda step: None,
) -> list[Tensor]:
    """The mel [1, C, F] of each row: `flow.solve` for several at once."""
    lengths = torch.tensor([row.length for row in rows], device=rows[0].noise.device)
    frames, references = int(lengths.max()), [row.reference_mel.shape[-1] for row in rows]
    x = padded([row.noise for row in rows], frames, 2)
    prompt = padded([row.reference_mel for row in rows], frames, 2)
    condition = padded([row.condition for row in rows], frames, 1)
    style = torch.cat([row.style for row in rows])
    target = torch.ones_like(x)
    for row, reference in enumerate(references):
        target[row, :, :reference] = 0
    prompt, condition, style = halves(prompt, condition, style, cfg_rate)
    lengths = lengths.repeat(len(prompt) // len(rows))
    static = dit.prepare(prompt, condition, style, needed=min(references), lengths=lengths)
    times = swayed(torch.linspace(0, 1, steps + 1), sway)
    x = x * target
    for step in range(steps):
        on_step(step)
        t = times[step].to(x.device, x.dtype).expand(len(lengths))
        velocity = dit.velocity(x.repeat(len(lengths) // len(rows), 1, 1), t, static)
        if cfg_rate != 0:
            velocity = guided(velocity, cfg_rate)
        x = (x + float(times[step + 1] - times[step]) * velocity) * target
    return [
        x[place : place + 1, :, reference : row.length]
        for place, (row, reference) in enumerate(zip(rows, references, strict=True))
    ]
