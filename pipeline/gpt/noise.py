"""Random numbers as a function of key and counter, so that a captured step draws new ones without a generator, and a
sequence's draws depend on nothing but its own key: neither on its company nor on the device.

Source: "Squares: A Fast Counter-Based RNG" (Widynski, arXiv 2004.06278), the 32-bit variant of four rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD = 32
LOW_WORD = (1 << WORD) - 1
KEY_BITS = 62  # of a key drawn at random; made odd below


def _rotate(x: Tensor) -> Tensor:
    return ((x >> WORD) & LOW_WORD) | (x << WORD)


def squares(counter: Tensor, key: Tensor) -> Tensor:
    """32 random bits of int64 counters and odd int64 keys, as int64 of their common shape. Products wrap round."""
    y = counter * key
    z = y + key
    x = _rotate(y * y + y)
    x = _rotate(x * x + z)
    x = _rotate(x * x + y)
    return ((x * x + z) >> WORD) & LOW_WORD


def gumbel(counter: Tensor, key: Tensor) -> Tensor:
    """Standard Gumbel noise in float32; in float64 until then, so that devices agree."""
    uniform = (squares(counter, key).double() + 0.5) / (1 << WORD)
    return -torch.log(-torch.log(uniform)).float()


def draw_key(generator: torch.Generator) -> int:
    """An odd key of `generator`, a host one, which moves on."""
    return int(torch.randint(1 << KEY_BITS, (), generator=generator)) | 1
