"""What in a clip is speech and what is background, from its power over time (`enhance.levels`).

Axes: N blocks of 8 ms.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from enhance.levels import BLOCK_SECONDS, decibels, silence_level

# The background is a low quantile of the power over time: lower in a clean clip, where only pauses show it,
# than in a noisy one, where more of the clip does and a very low one is a lull of the noise. Set on flite
# speech in white noise and babble at 0-30 dB; other sentences then come out within 3 dB
# (tests/enhance/test_speech.py).
FIRST_QUANTILE = 0.05
QUANTILE_BY_SNR = ((5.0, 0.22), (15.0, 0.11), (25.0, 0.05))  # (first SNR in dB, quantile), straight between
MIN_SNR_DB, MAX_SNR_DB = -10.0, 60.0
LOUD_QUANTILE = 0.95
SPEECH_OVER_FLOOR_DB = 6.0  # a speech block rises this far over the background near it
SPEECH_UNDER_LOUD_DB = 35.0  # and lies no further under the clip's loud parts
FLOOR_SECONDS = 1.5  # how far to each side the background near a block is looked for


def noise_and_snr(power: Tensor) -> tuple[float, float]:
    """Background power and SNR in dB of power over time [N]: (mean - background) / background.

    Blocks of digital silence are left out: they were never recorded."""
    heard = power[power > silence_level(power)].double().cpu().numpy()
    if not len(heard):
        return 0.0, MIN_SNR_DB

    def split(quantile: float) -> tuple[float, float]:
        noise = float(np.quantile(heard, quantile))
        return noise, float(np.clip(decibels(heard.mean() / noise - 1), MIN_SNR_DB, MAX_SNR_DB))

    _, first = split(FIRST_QUANTILE)
    return split(float(np.interp(first, *np.array(QUANTILE_BY_SNR).T)))


def floor_near(power: Tensor) -> Tensor:
    """[N] -> [N]: the higher of the lowest powers just before and just after each block.

    Steady noise is its own floor, however loud, even where it borders on silence."""
    width = min(len(power), max(1, round(FLOOR_SECONDS / BLOCK_SECONDS)))
    after = -F.max_pool1d(-power[None, None], width, stride=1)[0, 0]  # [N - width + 1], from each block on
    index = torch.arange(len(power), device=power.device)
    last = len(after) - 1
    return torch.maximum(after[index.clamp_max(last)], after[(index - width + 1).clamp_min(0)])


def speech_blocks(power: Tensor) -> Tensor:
    """[N] -> bool [N]: blocks that stand out from the background near them. Music and laughter do, too."""
    over_floor = power > floor_near(power) * 10 ** (SPEECH_OVER_FLOOR_DB / 10)
    loud = torch.from_numpy(np.quantile(power.cpu().numpy(), [LOUD_QUANTILE])).to(power)
    return over_floor & (power > loud * 10 ** (-SPEECH_UNDER_LOUD_DB / 10)) & (power > silence_level(power))
