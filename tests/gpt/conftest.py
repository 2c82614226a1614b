"""A prompt for the GPT, and how it is gone on from."""

import torch
from torch import Tensor

from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.sampling import SamplingOptions


def random_prompt(gpt: UnifiedVoice, text_ids: list[int]) -> Tensor:
    """Prompt [1, P, D] of a text and of a speaker and an emotion drawn at random, the same each time."""
    width, generator = gpt.config.model_dim, torch.Generator().manual_seed(1)
    latents = torch.randn(1, gpt.config.speaker.perceiver_latents, width, generator=generator)
    return gpt.prompt_inputs(latents, torch.randn(1, width, generator=generator), torch.tensor([text_ids]))


def sampling(**changes) -> SamplingOptions:
    """Options of a search that draws, with `changes`."""
    values = dict(
        do_sample=True,
        temperature=1.0,
        top_k=30,
        top_p=0.9,
        num_beams=1,
        repetition_penalty=10.0,
        length_penalty=0.0,
        max_codes=30,
        mel_positions="trained",
    )
    return SamplingOptions(**(values | changes))
