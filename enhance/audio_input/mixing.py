"""From the channels of a file to one: their mean, unless they cancel one another in it.

Axes: C channels.
"""

from __future__ import annotations

import numpy as np

# A mean with less of the channels' mean power than this has lost what they share: of eight channels that have
# nothing in common, and of eight of which one speaks, an eighth is left.
CANCELLED_SHARE = 0.1
TURNED_OVER = (
    "The channels cancel one another when they are mixed, "
    "as one is the other turned over; it was turned back."
)


def even_weights(channels: int) -> np.ndarray:
    """float32 [C]"""
    return np.full(channels, 1 / channels, np.float32)


def turned_over(powers: np.ndarray) -> np.ndarray | None:
    """Weights [C] that turn over what is turned over, None where nothing is to be done; powers [C, C]: sums
    of products of each channel with each other."""
    even = even_weights(len(powers))
    mean_power = np.trace(powers) / len(powers)
    if len(powers) == 1 or even @ powers @ even >= CANCELLED_SHARE * mean_power:
        return None
    loudest = int(np.argmax(np.diag(powers)))
    weights = np.where(powers[loudest] < 0, -even, even)
    # Turned against the first channel: the polarity of a recording is that of its first channel.
    return (weights * (np.sign(weights[0]) or 1)).astype(np.float32)
