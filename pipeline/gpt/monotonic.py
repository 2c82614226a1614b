"""Monotonic attention while decoding: the heads that follow the text neither run ahead of their place in it nor go
back.

Against skipped and repeated words: a free-running model loses its place where the text resembles itself ("the old
theater"). Only for models whose configuration names these heads; training can teach them (training/gpt.py).

Axes: G groups (sequences), S slots (beams of one), H heads, T keys, P rows of the prompt, d head width.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from pipeline.config import AlignmentConfig


class ReadingPlaces:
    """Where in its text each slot is: the token its heads attended to most, which never moves back. Buffers of fixed
    size and address: `follow` is a function of them alone."""

    def __init__(
        self, config: AlignmentConfig, heads: int, groups: int, slots: int, prompt: int, device: torch.device
    ):
        """`prompt`: rows of a group's cache that may hold its prompt, the same for all groups."""
        self.config, self.prompt = config, prompt
        self.heads = torch.tensor(config.heads, device=device)
        following = torch.zeros(heads, dtype=torch.bool, device=device)
        following[self.heads] = True
        self.following = following[None, :, None, None]
        self.tokens = torch.full(
            (groups, 1, prompt), -1, device=device
        )  # row -> place in the text; −1: no text
        self.places = torch.zeros(groups, slots, dtype=torch.long, device=device)

    def first(self, groups: int) -> ReadingPlaces:
        """The places of the first groups, in the same memory."""
        view = copy.copy(self)
        view.tokens, view.places = self.tokens[:groups], self.places[:groups]
        return view

    def begin(self, group: int, text: range) -> None:
        """A new sequence in `group`, whose text's tokens lie in these rows."""
        self.tokens[group] = -1
        self.tokens[group, 0, text.start : text.stop] = torch.arange(len(text), device=self.tokens.device)
        self.places[group] = 0

    def reorder(self, group: int, parents: Tensor) -> None:
        """Slot s of `group` goes on from where slot parents[s] was."""
        self.places[group] = self.places[group, parents]

    def follow(self, mask: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
        """The additive mask [G, H, S, T] that keeps the heads near their place, on top of `mask` [G, 1, S, T]; then the
        places move on. queries [G, H, S, d], one new code per slot; keys [G, H, T, d]."""
        place, text = self.places[..., None], self.tokens >= 0
        far = text & (
            (self.tokens < place - self.config.back) | (self.tokens > place + self.config.ahead)
        )  # [G, S, P]
        near = text & ~far
        scores = queries @ keys[:, :, : self.prompt].transpose(
            -1, -2
        )  # of all heads: choosing before would copy keys
        scores = scores[:, self.heads] / queries.shape[-1] ** 0.5
        attended = scores.float().masked_fill(~near[:, None], -torch.inf).softmax(-1).mean(1)
        reached = self.tokens.expand_as(attended).gather(-1, attended.argmax(-1, keepdim=True))[..., 0]
        self.places.copy_(torch.maximum(self.places, reached))
        narrowed = mask.expand(-1, queries.shape[1], -1, -1).clone()
        narrowed[..., : self.prompt].masked_fill_(far[:, None] & self.following, -torch.inf)
        return narrowed
