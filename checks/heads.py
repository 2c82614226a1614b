"""A GPT head with one logit moved, plain or packed beneath: so that decoding stops early, or never."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.packed import rows_of


class ShiftedHead(nn.Module):
    """`head`, with `shift` added to the logit of `token`."""

    def __init__(self, head: nn.Module, token: int, shift: float):
        super().__init__()
        self.head, self.token, self.shift = rows_of(head), token, shift

    def rows(self, x: Tensor) -> Tensor:
        """[R, D] -> [R, V]"""
        logits = self.head(x)
        logits[:, self.token] += self.shift
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
