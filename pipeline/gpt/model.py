"""The text-to-semantic GPT ("UnifiedVoice"): prompt, transformer over a preallocated KV cache, heads.

Axes: B batch (one utterance, or the beams of one), T time, D width, H heads, d head width,
S slots (beams), P prompt length, V mel vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config import GPTConfig
from pipeline.gpt.conditioner import Conformer, PerceiverResampler
from pipeline.gpt.monotonic import ReadingPlaces

NORM_EPS = 1e-5
MLP_RATIO = 4
DURATION_SLOTS = 2  # rows of the prompt after the speaker: of speed_emb row 1, then row 0; without it, zeros


@dataclass(frozen=True)
class LayerCache:
    """One layer's part of a KVCache: rows [capacity, 2 · D], of which `length` are in use."""

    rows: Tensor
    length: int
    reading: ReadingPlaces | None


@dataclass
class KVCache:
    """Keys and values of every layer for one group (the beams of one sequence), written in place. Position p of slot s
    lies at row `prompt + (p − prompt) · slots + s`: the prompt is kept once, all slots of a step side by side, and a
    slot's past is chosen by a mask, so that reordering beams moves nothing."""

    rows: Tensor  # [layers, capacity, 2 · D]: keys, then values
    length: int = 0
    reading: ReadingPlaces | None = None  # of this group alone; None: every head attends to all of the text

    def layer(self, index: int) -> LayerCache:
        """What the attention of one layer needs."""
        reading = self.reading if self.reading is not None and self.reading.config.layer == index else None
        return LayerCache(self.rows[index], self.length, reading)


class Conv1D(nn.Module):
    """A linear layer whose weight is stored (in, out), as GPT-2 publishes it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(x.flatten(0, -2)).unflatten(0, x.shape[:-1])

    def rows(self, x: Tensor) -> Tensor:
        """[R, in] -> [R, out]"""
        return torch.addmm(self.bias, x, self.weight)


class Attention(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.heads, self.width = config.heads, config.model_dim
        self.c_attn = Conv1D(config.model_dim, 3 * config.model_dim)
        self.c_proj = Conv1D(config.model_dim, config.model_dim)

    def split(self, projected: Tensor) -> tuple[Tensor, ...]:
        """Some of queries, keys and values side by side [B, T, n · D] -> each [B, H, T, d]."""
        width = self.width
        return tuple(
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected.split(width, dim=-1)
        )

    def forward(self, x: Tensor, cache: LayerCache | None, mask: Tensor | None) -> Tensor:
        projected = self.c_attn(x)
        q, k, v = self.split(projected)
        if cache is None:  # [B, H, T, d]: teacher-forced, causal
            h = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # one sequence [1, H, T, d] behind what the cache holds
            end = cache.length + x.shape[1]
            cache.rows[cache.length : end] = projected[0, :, self.width :]
            k, v = self.split(cache.rows[None, :end])
            if cache.reading is not None:
                blank = mask if mask is not None else q.new_zeros(1, 1, q.shape[2], end)
                mask = cache.reading.follow(blank, q, k)
            h = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None and q.shape[2] > 1
            )
        return self.c_proj(h.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.c_fc = Conv1D(config.model_dim, MLP_RATIO * config.model_dim)
        self.c_proj = Conv1D(MLP_RATIO * config.model_dim, config.model_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.model_dim, eps=NORM_EPS)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.model_dim, eps=NORM_EPS)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: LayerCache | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), cache, mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.h = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.ln_f = nn.LayerNorm(config.model_dim, eps=NORM_EPS)

    def forward(self, x: Tensor, cache: KVCache | None = None, mask: Tensor | None = None) -> Tensor:
        for i, block in enumerate(self.h):
            x = block(x, None if cache is None else cache.layer(i), mask)
        if cache is not None:
            cache.length += x.shape[1]
        return self.ln_f(x)


class LearnedPositions(nn.Module):
    def __init__(self, length: int, width: int):
        super().__init__()
        self.emb = nn.Embedding(length, width)

    def forward(self, positions: Tensor) -> Tensor:
        return self.emb(positions)


class UnifiedVoice(nn.Module):
    """Embeddings, conditioners, transformer and mel head, under the published names.

    `text_head` is used by training only and therefore built on request. `style_size` is needed where the style is what
    the GPT knows of the speaker."""

    def __init__(
        self,
        config: GPTConfig,
        feature_size: int,
        with_text_head: bool = False,
        style_size: int | None = None,
    ):
        super().__init__()
        width = config.model_dim
        self.config = config
        if config.speaker is None:
            if style_size is None:
                raise ValueError("the GPT knows a speaker by its style, so style_size is needed")
            self.spk_emb_proj = nn.Linear(style_size, width)
        else:
            self.conditioning_encoder = Conformer(config.speaker, feature_size)
            self.perceiver_encoder = PerceiverResampler(config.speaker)
            self.speed_emb = nn.Embedding(DURATION_SLOTS, width)
        if config.language_rows:
            self.lang_embedding = nn.Embedding(config.language_rows, width)
        self.emo_conditioning_encoder = Conformer(config.emotion, feature_size)
        self.emo_perceiver_encoder = PerceiverResampler(config.emotion)
        self.emovec_layer = nn.Linear(config.emotion.perceiver_dim, width)
        self.emo_layer = nn.Linear(width, width)
        self.text_embedding = nn.Embedding(config.number_text_tokens + 1, width)
        self.mel_embedding = nn.Embedding(config.number_mel_codes, width)
        self.text_pos_embedding = LearnedPositions(config.max_text_tokens + 2, width)
        self.mel_pos_embedding = LearnedPositions(config.max_mel_tokens + 3, width)
        self.gpt = Transformer(config)
        self.final_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mel_head = nn.Linear(width, config.number_mel_codes)
        if with_text_head:
            self.text_head = nn.Linear(width, config.number_text_tokens + 1)

    def speaker_latents(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """Speaker latents [B, L, D], of semantic features [B, T, feature_size] or, where the GPT has no conditioner
        for those, of the style [B, style_size]."""
        if self.config.speaker is None:
            return self.spk_emb_proj(style)[:, None]
        return self.perceiver_encoder(self.conditioning_encoder(features))

    def emotion_vector(self, features: Tensor) -> Tensor:
        """Semantic features [B, T, feature_size] of an emotion clip -> emotion vector [B, D]."""
        latents = self.emo_perceiver_encoder(self.emo_conditioning_encoder(features))
        return self.emo_layer(self.emovec_layer(latents[:, 0]))

    def text_inputs(self, text_ids: Tensor, language: int | None = None) -> Tensor:
        """Token ids [B, T] without start and stop -> embeddings of (start, ids…, stop) [B, T+2, D]. `language` is the
        row of the language embedding; needed where there is one.

        Raises ValueError when the text does not fit the learned positions, and for a language without a row."""
        if text_ids.shape[1] > self.config.max_text_tokens:
            raise ValueError(
                f"a text segment has {text_ids.shape[1]} tokens; "
                f"the model takes at most {self.config.max_text_tokens}"
            )
        ids = F.pad(
            F.pad(text_ids, (1, 0), value=self.config.start_text_token),
            (0, 1),
            value=self.config.stop_text_token,
        )
        positions = self.text_pos_embedding(torch.arange(ids.shape[1], device=ids.device))
        inputs = self.text_embedding(ids) + positions
        rows = self.config.language_rows
        if not rows:
            return inputs
        if language is None or not 0 <= language < rows:
            raise ValueError(f"the language is {language}; the model has rows 0 to {rows - 1}")
        return inputs + self.lang_embedding.weight[language]

    def conditioning(self, speaker_latents: Tensor, emotion_vector: Tensor) -> Tensor:
        """[speaker latents [B, L, D] + emotion vector [B, D] ; speed 1, speed 0, or zeros] -> [B, L + 2, D]."""
        speaker = speaker_latents + emotion_vector[:, None]
        if self.config.speaker is None:
            return F.pad(speaker, (0, 0, 0, DURATION_SLOTS))
        speed = self.speed_emb.weight.flip(0)[None].expand(speaker.shape[0], -1, -1)
        return torch.cat([speaker, speed], dim=1)

    def prompt_inputs(
        self, speaker_latents: Tensor, emotion_vector: Tensor, text_ids: Tensor, language: int | None = None
    ) -> Tensor:
        """[conditioning ; text] -> [B, P, D]; see `text_inputs` for `language`."""
        conditioning = self.conditioning(speaker_latents, emotion_vector).expand(text_ids.shape[0], -1, -1)
        return torch.cat([conditioning, self.text_inputs(text_ids, language)], dim=1)

    def text_rows(self, prompt_rows: int) -> range:
        """Where in a prompt of so many rows the text's tokens lie, without start and stop."""
        return range(self.config.speaker_rows + DURATION_SLOTS + 1, prompt_rows - 1)

    def mel_inputs(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Mel tokens and their positions, of one shape [...], -> embeddings [..., D]."""
        return self.mel_embedding(tokens) + self.mel_pos_embedding(positions)

    def latents(self, inputs: Tensor, cache: KVCache | None = None, mask: Tensor | None = None) -> Tensor:
        """Transformer output after both final norms; the mel head reads it: [B, T, D] -> [B, T, D]."""
        return self.final_norm(self.gpt(inputs, cache, mask))
