"""Trains the GPT: text to codes, conditioned on another clip of the same speaker.

Axes: B batch, n codes of a clip, D GPT width, T time of a whole sequence.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pipeline.config import GPTConfig
from pipeline.gpt.model import UnifiedVoice
from training.device import place, ready
from training.initialize import NARROW, initialize

NEVER = -1e4  # attention score of "no token of the text"
PERIODS = (6.0, 3000.0)  # in codes: shortest and longest of the sinusoids that positions start as


@dataclasses.dataclass(frozen=True)
class GPTOptions:
    """The `stage` section of a GPT training configuration.

    A batch takes clips of like length with at most `batch_tokens` text tokens and codes. `condition_frames` bounds the
    length of the conditioning crop (50 Hz). A share `code_noise` of the input codes is replaced at random, so that the
    model leans on the text. The heads that `gpt.alignment` of the model's configuration names learn with weight
    `alignment_weight` to go through the text in order (`alignment_loss`). Until step `short_until` the longest clip allowed
    grows, with the square of the step, from `short_tokens`.
    """

    batch_tokens: int
    condition_frames: tuple[int, int]
    text_weight: float
    code_noise: float
    alignment_weight: float
    short_tokens: int
    short_until: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Sample:
    """One clip: text ids and codes, both int64 arrays, and its speaker."""

    ids: np.ndarray
    codes: np.ndarray
    speaker: str

    @property
    def tokens(self) -> int:
        return len(self.ids) + len(self.codes)


@torch.no_grad()
def align_positions(model: UnifiedVoice, samples: Sequence[Sample]) -> None:
    """Let both learned position tables start as sinusoids over one time axis, that of the codes.

    A token of the text then starts out like the codes at about its time, at the mean pace of `samples`, and attention
    need not find the diagonal from nothing.
    """
    codes_per_token = sum(len(s.codes) for s in samples) / sum(len(s.ids) for s in samples)
    for table, pace in (
        (model.text_pos_embedding.emb.weight, codes_per_token),
        (model.mel_pos_embedding.emb.weight, 1.0),
    ):
        times = pace * torch.arange(len(table))
        pairs = table.shape[1] // 2
        periods = PERIODS[0] * (PERIODS[1] / PERIODS[0]) ** (torch.arange(pairs) / max(pairs - 1, 1))
        angles = 2 * math.pi * times[:, None] / periods
        table.copy_(NARROW * math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], dim=1))


@dataclasses.dataclass(frozen=True)
class Sequences:
    """A batch as the transformer takes it: inputs [B, T, D], each sample's prompt, start token and codes one after the
    other, then padding. Of every sample: how many rows come before its text, and how many ids and codes it has."""

    inputs: Tensor
    before_text: int
    ids: list[int]
    codes: list[int]

    def text_rows(self) -> list[range]:
        """By sample, the rows that are asked for its ids and the stop token."""
        return [range(self.before_text, self.before_text + n + 1) for n in self.ids]

    def code_rows(self) -> list[range]:
        """By sample, the rows that are asked for its codes and the stop token."""
        first = self.before_text + 2
        return [range(first + n, first + n + m + 1) for n, m in zip(self.ids, self.codes, strict=True)]

    def of(self, hidden: Tensor, rows: Sequence[range]) -> Tensor:
        """Those rows of every sample, one sample after the other: hidden [B, T, D] -> [sum of rows, D]."""
        length = hidden.shape[1]
        places = np.concatenate([number * length + np.array(some) for number, some in enumerate(rows)])
        return hidden.flatten(0, 1).index_select(0, _on(hidden, places))


def build_sequences(
    model: UnifiedVoice,
    samples: Sequence[Sample],
    inputs: Sequence[np.ndarray],
    latents: Tensor,
    emotions: Tensor,
) -> Sequences:
    """The sequences of a batch as in inference. `inputs` are the codes that are fed, int64 [n] each: the samples' own,
    or with noise. latents [B, L, D], emotions [B, D]."""
    config, device = model.config, latents.device
    conditioning = model.conditioning(latents, emotions)
    ids = padded([sample.ids for sample in samples], config.stop_text_token).to(device)
    fed = F.pad(padded(inputs, config.stop_mel_token), (1, 0), value=config.start_mel_token).to(device)
    text, mel = (
        model.text_inputs(ids),
        model.mel_inputs(fed, torch.arange(fed.shape[1], device=device).expand_as(fed)),
    )
    parts = torch.cat([conditioning, text, mel], dim=1)
    before, first_mel = conditioning.shape[1], conditioning.shape[1] + text.shape[1]
    counts = [len(sample.ids) for sample in samples]
    lengths = [before + n + 2 + len(codes) + 1 for n, codes in zip(counts, inputs, strict=True)]
    columns = np.arange(max(lengths))
    places = np.zeros((len(samples), len(columns)), np.int64)
    for row, (n, length) in enumerate(zip(counts, lengths, strict=True)):
        prompt = before + n + 2
        where = np.where(columns < prompt, columns, columns - prompt + first_mel)
        places[row] = row * parts.shape[1] + np.where(columns < length, where, 0)
    rows = parts.flatten(0, 1).index_select(0, _on(parts, places.reshape(-1)))
    return Sequences(rows.unflatten(0, places.shape), before, counts, [len(codes) for codes in inputs])


def padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    """Arrays of different lengths as int64 [B, longest], on the CPU."""
    return pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True, padding_value=value)


def with_noise(rng: np.random.Generator, codes: np.ndarray, share: float, size: int) -> np.ndarray:
    """The codes with a share of them replaced by random ones of so many: int64 [n]."""
    replaced = rng.random(len(codes)) < share
    return np.where(replaced, rng.integers(size, size=len(codes)), codes)


def asked(
    head: nn.Module,
    hidden: Tensor,
    batch: Sequences,
    rows: Sequence[range],
    targets: Sequence[np.ndarray],
    stop: int,
) -> tuple[Tensor, Tensor]:
    """What a head says of those rows of hidden [B, T, D], and what it should: each sample's targets, then `stop`.
    logits [N, V], int64 [N]."""
    wanted = np.concatenate([np.append(target, stop) for target in targets])
    return head(batch.of(hidden, rows)).float(), _on(hidden, wanted)


def alignment_loss(queries: Tensor, keys: Tensor, batch: Sequences) -> Tensor:
    """How far heads are from going through the text token by token, in nats per code: CTC over their scores, no blanks.

    queries, keys [B, H, T, d]. Against skipped and repeated words; after "One TTS Alignment To Rule Them All" (Badlani
    et al. 2022) and "Improving Robustness of LLM-based Speech Synthesis by Learning Monotonic Alignment" (Neekhara et al.
    2024).
    """
    codes, tokens = max(batch.codes), max(batch.ids)
    first_code = np.array([rows[0] for rows in batch.code_rows()])
    rows = np.minimum(first_code[:, None] + np.arange(codes), queries.shape[2] - 1)
    q = queries.take_along_dim(_on(queries, rows)[:, None, :, None], dim=2)
    first_token = batch.before_text + 1
    k = keys[:, :, first_token : first_token + tokens]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    beyond = _on(scores, np.arange(tokens) >= np.array(batch.ids)[:, None])
    scores = scores.masked_fill(beyond[:, None, None], NEVER)
    steps = F.pad(scores, (1, 0), value=NEVER).log_softmax(-1)
    heads = queries.shape[1]
    wanted = torch.arange(1, tokens + 1, device=scores.device).expand(len(rows) * heads, -1)
    lengths = (torch.tensor(some, device="cpu").repeat_interleave(heads) for some in (batch.codes, batch.ids))
    losses = F.ctc_loss(
        steps.flatten(0, 1).transpose(0, 1), wanted, *lengths, reduction="none", zero_infinity=True
    )
    return (losses.unflatten(0, (-1, heads)).mean(1) / _on(losses, np.array(batch.codes))).mean()


def _on(like: Tensor, array: np.ndarray) -> Tensor:
    """An array as a tensor where another tensor is."""
    return torch.from_numpy(array).to(like.device)


class GPTStage:
    """Cross-entropy of codes, with small weights that of text, and the order in which heads attend to the text."""

    def __init__(
        self,
        config: GPTConfig,
        feature_size: int,
        options: GPTOptions,
        samples: Sequence[Sample],
        features: Mapping[str, Sequence[np.ndarray]],
    ):
        """`features` are normalized semantic features [T, feature_size] of several clips per speaker."""
        self.options, self.config = options, config
        self.module = initialize(UnifiedVoice(config, feature_size, with_text_head=True), options.seed)
        shortest = options.condition_frames[0]
        self.features = {
            speaker: [f for f in clips if len(f) >= shortest] for speaker, clips in features.items()
        }
        usable = [
            s
            for s in samples
            if self.features.get(s.speaker)
            and len(s.ids) <= config.max_text_tokens
            and len(s.codes) <= config.max_mel_tokens
        ]
        if not usable:
            raise ValueError(
                f"none of {len(samples)} clips fits the model and has a conditioning clip of its speaker"
            )
        align_positions(self.module, usable)
        self.projected = torch.empty(0)  # queries, keys and values of the alignment layer in the latest pass
        if config.alignment is not None:
            self.module.gpt.h[config.alignment.layer].attn.c_attn.register_forward_hook(self.keep_projected)
        self.samples = sorted(usable, key=lambda sample: sample.tokens)
        self.lengths = np.array([sample.tokens for sample in self.samples])

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        samples = self.draw(rng, step)
        condition = self.draw_conditions(rng, samples)
        latents, emotions = self.module.speaker_latents(condition), self.module.emotion_vector(condition)
        share, size = self.options.code_noise, self.config.start_mel_token
        fed = [with_noise(rng, sample.codes, share, size) for sample in samples]
        batch = build_sequences(self.module, samples, fed, latents, emotions)
        hidden = self.module.latents(batch.inputs)
        module, config = self.module, self.config
        codes, wanted = asked(
            module.mel_head,
            hidden,
            batch,
            batch.code_rows(),
            [s.codes for s in samples],
            config.stop_mel_token,
        )
        text = asked(
            module.text_head,
            hidden,
            batch,
            batch.text_rows(),
            [s.ids for s in samples],
            config.stop_text_token,
        )
        losses = {"codes": F.cross_entropy(codes, wanted), "text": F.cross_entropy(*text)}
        loss = losses["codes"] + self.options.text_weight * losses["text"]
        if config.alignment is not None:
            losses["alignment"] = alignment_loss(*self.attended(), batch)
            loss = loss + self.options.alignment_weight * losses["alignment"]
        return {"loss": loss, **losses, "accuracy": (codes.argmax(-1) == wanted).float().mean()}

    def keep_projected(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.projected = output

    def attended(self) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, H, T, d] of the alignment heads in the latest pass."""
        alignment = self.config.alignment
        queries, keys, _ = self.module.gpt.h[alignment.layer].attn.split(self.projected.float())
        return queries[:, alignment.heads], keys[:, alignment.heads]

    def draw(self, rng: np.random.Generator, step: int) -> list[Sample]:
        """Neighbours in length around a random clip, as many as `batch_tokens` holds."""
        longest = self.lengths[-1]
        if step < self.options.short_until:
            share = (step / self.options.short_until) ** 2
            longest = self.options.short_tokens + share * max(longest - self.options.short_tokens, 0)
        allowed = max(int(np.searchsorted(self.lengths, longest, side="right")), 1)
        center = int(rng.integers(allowed))
        count = max(int(self.options.batch_tokens / (self.lengths[center] + 1)), 1)
        low = max(min(center - count, allowed - 2 * count), 0)
        high = min(low + 2 * count, allowed)
        return [
            self.samples[i] for i in rng.choice(np.arange(low, high), min(count, high - low), replace=False)
        ]

    def draw_conditions(self, rng: np.random.Generator, samples: Sequence[Sample]) -> Tensor:
        """Crops of one length from any clip of each sample's speaker: [B, frames, feature_size]."""
        clips = [self.features[s.speaker][rng.integers(len(self.features[s.speaker]))] for s in samples]
        frames = int(rng.integers(*self.options.condition_frames, endpoint=True))
        frames = min(frames, min(map(len, clips)))
        starts = [int(rng.integers(len(clip) - frames + 1)) for clip in clips]
        crops = [clip[start : start + frames] for clip, start in zip(clips, starts, strict=True)]
        return place(np.stack(crops)).float()


def load_gpt(config: GPTConfig, feature_size: int, state: Mapping[str, Tensor]) -> UnifiedVoice:
    """The trained GPT in eval mode, without the text head."""
    model = UnifiedVoice(config, feature_size)
    model.load_state_dict({key: value for key, value in state.items() if not key.startswith("text_head.")})
    return ready(model)


@torch.no_grad()
def teacher_forced(
    model: UnifiedVoice, samples: Sequence[Sample], latents: Tensor, emotions: Tensor
) -> list[Tensor]:
    """Latents [n, D] of each clip's own codes, as the second pass of inference gives them; latents [B, L, D],
    emotions [B, D]."""
    batch = build_sequences(model, samples, [sample.codes for sample in samples], latents, emotions)
    found = model.latents(batch.inputs)
    return [row[rows[0] : rows[-1]] for row, rows in zip(found, batch.code_rows(), strict=True)]
