"""Monotonic attention while decoding: the heads that follow the text neither run ahead of their place in it nor go back.

Against skipped and repeated words: a free-running model loses its place where the text resembles itself ("the old
theater"). Only for models whose configuration names these heads; training can teach them (training/gpt.py).

Axes: S slots (beams), H heads, T keys, m text tokens, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import AlignmentConfig


class ReadingPlace:
    """Where in the text each slot is: the token its heads attended to most, which never moves back."""

    def __init__(self, config: AlignmentConfig, text: range, slots: int, device: torch.device):
        """`text`: the rows of the key cache that hold the text's tokens."""
        self.config, self.text = config, slice(text.start, text.stop)
        self.heads = torch.tensor(config.heads, device=device)
        self.tokens = torch.arange(len(text), device=device)
        self.places = torch.zeros(slots, dtype=torch.long, device=device)

    def reorder(self, parents: Tensor) -> None:
        """Slot s goes on from where slot parents[s] was."""
        self.places = self.places[parents]

    def narrow(self, mask: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor:
        """The additive mask [1, H, S, T] that keeps the heads near their place, on top of `mask` [1, 1, S, T]; then the
        place moves on. queries [1, H, S, d], one new code per slot; keys [H, T, d]."""
        place = self.places[:, None]
        far = (self.tokens < place - self.config.back) | (self.tokens > place + self.config.ahead)
        window = queries.new_zeros(far.shape).masked_fill(far, -torch.inf)  # [S, m]
        scores = (
            queries[0, self.heads] @ keys[self.heads, self.text].transpose(-1, -2) / queries.shape[-1] ** 0.5
            + window
        )
        self.places = torch.maximum(self.places, scores.float().softmax(-1).mean(0).argmax(-1))
        narrowed = queries.new_zeros(1, queries.shape[1], queries.shape[2], keys.shape[1])
        if mask is not None:
            narrowed += mask
        narrowed[0, self.heads, :, self.text] += window
        return narrowed
