"""More sequences than may fit a device's memory at once: all of them, then halves, as the memory allows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.gpt.decode import Decoded, OnStep
from pipeline.gpt.device import DeviceDecoder, decode_together
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.sampling import SamplingOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Many:
    """What was decoded, in order, how many were decoded at once, and what to tell of it."""

    decoded: list[Decoded]
    batch: int
    warnings: tuple[str, ...]


def decode_many(
    model: UnifiedVoice,
    prompts: Sequence[Tensor],
    options: SamplingOptions,
    keys: Sequence[int],
    on_step: OnStep = lambda step: None,
    make: Callable[..., DeviceDecoder] = DeviceDecoder,
) -> Many:
    """Every prompt [1, P, D] decoded with `options`; when the device's memory does not suffice, half as many at once.

    The codes are the same in batches of any size. Raises torch.OutOfMemoryError when not even one fits."""
    batch, warnings = len(prompts), list[str]()
    found: list[Decoded] = []
    decoder: DeviceDecoder | None
    limit = min(options.max_codes, model.config.max_mel_tokens)
    longest = max(prompt.shape[1] for prompt in prompts)
    while len(found) < len(prompts):
        part = slice(len(found), len(found) + batch)
        try:
            decoder = make(model, min(batch, len(prompts)), options.num_beams, limit, longest)
            chosen = prompts[part]
            found += decode_together(decoder, chosen, [options] * len(chosen), keys[part], on_step)
            continue
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        decoder = None  # outside the handler, whose traceback holds the tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        batch = -(-batch // 2)
        warnings.append(
            f"the device had too little memory: {batch} segments at once instead of {len(prompts)}"
        )
        logger.warning(warnings[-1])
    return Many(found, batch, tuple(warnings[-1:]))
