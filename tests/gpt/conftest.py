"""A prompt for the GPT."""

import torch
from torch import Tensor

from pipeline.gpt.model import UnifiedVoice


def random_prompt(gpt: UnifiedVoice, text_ids: list[int]) -> Tensor:
    """Prompt [1, P, D] of a text and of a speaker and an emotion drawn at random, the same each time."""
    width, generator = gpt.config.model_dim, torch.Generator().manual_seed(1)
    latents = torch.randn(1, gpt.config.speaker.perceiver_latents, width, generator=generator)
    return gpt.prompt_inputs(latents, torch.randn(1, width, generator=generator), torch.tensor([text_ids]))
