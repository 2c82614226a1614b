"""Choosing tokens: the score processors of Hugging Face `generate` as plain functions over [S, V]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PROMPT_TOKEN = 1  # what `generate` sees at every prompt position, so the penalty always counts it


@dataclass(frozen=True)
class SamplingOptions:
    """How codes are searched. num_beams 1: greedy (do_sample False) or sampling; above: beam or
    beam-sample. top_k 0 and top_p 1 switch their filters off. trained_latents: what reads the latents wants them at
    trained positions, which may take a second pass."""

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    num_beams: int
    repetition_penalty: float
    length_penalty: float
    max_codes: int
    mel_positions: str  # "trained": code k at position k+1; "published": at k+2
    trained_latents: bool = True

    @property
    def second_pass(self) -> bool:
        """Whether latents are to be had at other positions than those that are decoded with."""
        return self.trained_latents and self.mel_positions != "trained"

    def __post_init__(self):
        limits = {
            "temperature": (self.temperature, self.temperature > 0, "above 0"),
            "top_k": (self.top_k, self.top_k >= 0, "0 (off) or more"),
            "top_p": (self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
            "num_beams": (self.num_beams, 1 <= self.num_beams <= 16, "1 to 16"),
            "repetition_penalty": (self.repetition_penalty, self.repetition_penalty > 0, "above 0"),
            "max_mel_tokens": (self.max_codes, self.max_codes >= 1, "1 or more"),
            "mel_positions": (
                self.mel_positions,
                self.mel_positions in POSITION_OFFSET,
                " or ".join(POSITION_OFFSET),
            ),
        }
        for name, (value, ok, allowed) in limits.items():
            if not ok:
                raise ValueError(f"{name} is {value}; allowed: {allowed}")


POSITION_OFFSET = {"trained": 1, "published": 2}


def seen_tokens(slots: int, vocabulary: int, start_token: int, device: torch.device) -> Tensor:
    """The table of tokens a repetition penalty counts, [S, V] bool, before the first code."""
    seen = torch.zeros(slots, vocabulary, dtype=torch.bool, device=device)
    seen[:, [PROMPT_TOKEN, start_token]] = True
    return seen


def penalize_repetition(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Scores of seen tokens pushed down: divided by the penalty where positive, multiplied where negative."""
    if penalty == 1:
        return scores
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def forbid(scores: Tensor, token: int) -> Tensor:
    """Scores without `token`: the start token is in the vocabulary but is no code, and nothing after the
    GPT could speak it."""
    scores = scores.clone()
    scores[:, token] = -torch.inf
    return scores


def filter_scores(scores: Tensor, options: SamplingOptions, keep: int) -> Tensor:
    """Temperature, then top-k, then top-p; filtered tokens become −inf, at least `keep` stay."""
    count = scores.shape[-1]
    kept = min(max(options.top_k, keep), count) if options.top_k > 0 else count
    values, order = (scores / options.temperature).topk(kept)  # descending
    if options.top_p < 1:
        remove = values.flip(-1).softmax(-1).cumsum(-1).flip(-1) <= 1 - options.top_p
        remove[..., :keep] = False
        values = values.masked_fill(remove, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter_(-1, order, values)


def draw(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices without replacement from softmax(scores) [..., V], in draw order (Gumbel top-k)."""
    uniform = torch.rand(scores.shape, generator=generator, device=generator.device, dtype=torch.float32)
    gumbel = -torch.log(-torch.log(uniform.clamp(min=torch.finfo(torch.float32).tiny)))
    return (scores.float() + gumbel.to(scores.device)).topk(count, dim=-1).indices
