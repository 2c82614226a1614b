"""How long the GPTs of two models take for a second of audio, in turn: `script/bench --size full25 --against full`.

The weights are drawn at random where they lie: what a step costs does not depend on them. A given number of codes is
forced, and what a code stands for is the model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from checks.bench_stages import NEVER, code_rate, gpt_seconds
from checks.heads import ShiftedHead
from pipeline.config import ModelConfig
from pipeline.gpt.model import UnifiedVoice
from pipeline.loading import NoInitialValues
from pipeline.model import MODULES
from pipeline.precision import apply_precision

SPREAD = 0.02  # standard deviation of the weights
DRAWN = 1_000_003  # values, repeated: drawing all would take longer than what is measured


def random_gpt(config: ModelConfig, precision: str) -> UnifiedVoice:
    """The GPT of a model with weights drawn at random."""
    with NoInitialValues():
        gpt = MODULES["gpt", ""](config)
    values = SPREAD * torch.randn(DRAWN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in gpt.parameters():
            for part in parameter.view(-1).split(DRAWN):
                part.copy_(values[: len(part)])
    gpt = gpt.eval().requires_grad_(False)
    apply_precision(precision, "gpt", gpt, mapped=False)
    gpt.mel_head = ShiftedHead(gpt.mel_head, config.gpt.stop_mel_token, NEVER)
    return gpt


def seconds_of_audio(
    configs: Sequence[ModelConfig], precision: str, beams: Sequence[int], codes: int, runs: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """By number of beams: model -> seconds of its GPT for a second of audio, the prompt's not counted."""
    models = {config.name: random_gpt(config, precision) for config in configs}
    for count in beams:
        seconds = gpt_seconds(models, count, codes, runs)
        yield count, {config.name: seconds[config.name] * code_rate(config) for config in configs}


def comparison(
    configs: Sequence[ModelConfig], precision: str, beams: Sequence[int], codes: int, runs: int
) -> Iterator[str]:
    """Lines that show `seconds_of_audio`, and the first model's over the second's."""
    for count, row in seconds_of_audio(configs, precision, beams, codes, runs):
        figures = ", ".join(f"{name} {value:.3g}" for name, value in row.items())
        first, second = row.values()
        yield f"GPT, {count} beam{'s'[: count > 1]}, {precision}, s/s of audio: {figures}; ratio {first / second:.2f}"
