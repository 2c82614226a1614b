"""Emotion as a vector the GPT adds to the speaker latents: from a clip, or from eight weights.

Axes: D GPT width, S style width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import EmotionConfig


def blend(base: Tensor, other: Tensor, alpha: float) -> Tensor:
    """base + α (other − base), of emotion vectors [1, D]."""
    return base + alpha * (other - base)


def parse_weights(text: str, config: EmotionConfig) -> list[float]:
    """Eight weights from "happy=0.6, calm=0.2" or from eight numbers.

    Raises ValueError naming what is wrong and the emotions there are."""
    parts = [part.strip() for part in text.replace(";", ",").strip("[] \t\n").split(",") if part.strip()]
    names = ", ".join(config.names)
    allowed = f"allowed: {len(config.names)} numbers, or name=weight pairs of {names}; weights 0 to 1"
    if not parts:
        raise ValueError(f"emotion_vector is empty; {allowed}")
    named = ["=" in part for part in parts]
    if any(named) and not all(named):
        raise ValueError(f"emotion_vector mixes names and bare numbers; {allowed}")
    if not any(named):
        if len(parts) != len(config.names):
            raise ValueError(f"emotion_vector has {len(parts)} numbers; {allowed}")
        pairs = list(zip(config.names, parts, strict=True))
    else:
        sides = (part.lower().partition("=") for part in parts)
        pairs = [(name.strip(), number.strip()) for name, _, number in sides]
    weights: dict[str, float] = {}
    for name, number in pairs:
        if name not in config.names:
            raise ValueError(f"emotion_vector names '{name[:40]}'; {allowed}")
        if name in weights:
            raise ValueError(f"emotion_vector names '{name}' twice; {allowed}")
        try:
            weights[name] = float(number)
        except ValueError as e:
            raise ValueError(f"emotion_vector: the weight of '{name}' is not a number; {allowed}") from e
        if not 0 <= weights[name] <= 1:
            raise ValueError(f"emotion_vector: the weight of '{name}' is {weights[name]}; {allowed}")
    return [weights.get(name, 0.0) for name in config.names]


def temper(weights: Sequence[float], config: EmotionConfig) -> list[float]:
    """What interactive front ends do first: bias per emotion, then scaled down so that the sum is at most
    `total_cap`, which keeps the speaker's own timbre in the mix."""
    biased = [weight * bias for weight, bias in zip(weights, config.bias, strict=True)]
    total = sum(biased)
    return [w * config.total_cap / total for w in biased] if total > config.total_cap else biased


def from_weights(
    weights: Sequence[float],
    base: Tensor,
    style: Tensor,
    speaker_matrix: Tensor,
    emotion_matrix: Tensor,
    config: EmotionConfig,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Emotion vector [1, D] = Σ wᵢ rowᵢ + (1 − Σ w) · base.

    Per emotion the row is the one whose speaker is most like `style` [1, S], or a random one when a
    generator is given. base [1, D]; speaker_matrix [rows, S]; emotion_matrix [rows, D]."""
    rows = []
    for speakers, emotions in zip(
        speaker_matrix.split(list(config.rows)), emotion_matrix.split(list(config.rows)), strict=True
    ):
        if generator is None:
            index = F.cosine_similarity(style, speakers, dim=-1).argmax()
        else:
            index = torch.randint(len(speakers), (), generator=generator)
        rows.append(emotions[index])
    w = torch.tensor(list(weights), dtype=base.dtype, device=base.device)
    return (w[:, None] * torch.stack(rows)).sum(0, keepdim=True) + (1 - w.sum()) * base


# --- the text emotion model's answer --------------------------------------------------------------

ANSWER_KEYS = {
    "高兴": "happy",
    "愤怒": "angry",
    "悲伤": "sad",
    "恐惧": "afraid",
    "反感": "disgusted",
    "低落": "melancholic",
    "惊讶": "surprised",
    "自然": "calm",
}
SCORE_RANGE = (0.0, 1.2)
MELANCHOLY_WORDS = ("低落", "melancholy", "melancholic", "depression", "depressed", "gloomy")


def weights_from_answer(scores: Mapping[str, float], text: str, config: EmotionConfig) -> list[float]:
    """Eight weights from the scores the text emotion model answered for `text`."""
    low, high = SCORE_RANGE
    weights = {
        ANSWER_KEYS[key]: min(max(float(score), low), high)
        for key, score in scores.items()
        if key in ANSWER_KEYS
    }
    weights = {name: weights.get(name, 0.0) for name in config.names}
    if any(word in text.lower() for word in MELANCHOLY_WORDS):
        weights["sad"], weights["melancholic"] = weights["melancholic"], weights["sad"]
    if not any(weights.values()):
        weights["calm"] = 1.0
    return [weights[name] for name in config.names]
