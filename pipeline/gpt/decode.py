"""Decoding mel codes over a preallocated KV cache: greedy, sampling, beam and beam-sample search.

Axes: S slots (1, or one per beam), V mel vocabulary, D width, P prompt length. Step i reads the
hidden state after code i−1 (step 0: after the start token) and chooses code i. Semantics are those
of Hugging Face `generate` 4.52.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.gpt.model import KVCache, UnifiedVoice
from pipeline.gpt.monotonic import ReadingPlace
from pipeline.gpt.sampling import (
    POSITION_OFFSET,
    SamplingOptions,
    draw,
    filter_scores,
    forbid,
    penalize_repetition,
    seen_tokens,
)

UNREACHABLE = -1e9  # score of beams and hypotheses that do not exist yet
OnStep = Callable[[int], None]


@dataclass(frozen=True)
class Decoded:
    """codes [n] int64; latents [n, D], the hidden states that chose them (after both final norms);
    stopped: the model ended by itself rather than at the limit."""

    codes: Tensor
    latents: Tensor
    stopped: bool


@dataclass
class Trace:
    """What every slot did at every step; hypotheses are read out of it backwards."""

    hidden: list[Tensor] = field(default_factory=list)  # [S, D] that chose step i's tokens
    tokens: list[Tensor] = field(default_factory=list)  # [S]
    parents: list[Tensor] = field(default_factory=list)  # [S]: slot at step i−1

    def path(self, step: int, slot: int) -> list[int]:
        """Slots at steps 0…step of the sequence that is in `slot` at `step`."""
        slots = [slot]
        for i in range(step, 0, -1):
            slots.append(int(self.parents[i][slots[-1]]))
        return slots[::-1]


@dataclass
class DecodeState:
    model: UnifiedVoice
    slots: int
    shared: int  # cache rows of prompt and start token, one copy for all slots
    offset: int  # position of code k is k + offset
    cache: KVCache
    mask: Tensor  # [S, capacity] additive
    hidden: Tensor  # [S, D] of the newest position
    step: int = 0  # codes fed so far


def prepare(model: UnifiedVoice, prompt: Tensor, slots: int, max_codes: int, positions: str) -> DecodeState:
    """Run the prompt [1, P, D] and the start token; every slot begins there."""
    device, dtype = prompt.device, prompt.dtype
    start = torch.tensor([[model.config.start_mel_token]], device=device)
    inputs = torch.cat([prompt, model.mel_inputs(start, torch.zeros_like(start))], dim=1)
    shared = inputs.shape[1]
    capacity = shared + slots * max_codes
    cache = KVCache.empty(model.config, capacity, device, dtype)
    mask = torch.full((slots, capacity), -torch.inf, device=device, dtype=dtype)
    mask[:, :shared] = 0
    hidden = model.latents(inputs, cache)[0, -1:].expand(slots, -1)
    if model.config.alignment is not None:
        cache.reading = ReadingPlace(model.config.alignment, model.text_rows(prompt.shape[1]), slots, device)
    return DecodeState(model, slots, shared, POSITION_OFFSET[positions], cache, mask, hidden)


def advance(state: DecodeState, tokens: Tensor, parents: Tensor | None = None) -> None:
    """Feed one token per slot [S]; `parents` [S] says which slot each one continues (None: itself)."""
    if parents is not None:
        state.mask.copy_(state.mask[parents])
        if state.cache.reading is not None:
            state.cache.reading.reorder(parents)
    rows = state.shared + state.step * state.slots
    state.mask[:, rows : rows + state.slots].fill_diagonal_(0)
    positions = torch.full_like(tokens, state.step + state.offset)
    inputs = state.model.mel_inputs(tokens, positions)[None]
    mask = state.mask[None, None, :, : rows + state.slots] if state.slots > 1 else None
    state.hidden = state.model.latents(inputs, state.cache, mask)[0]
    state.step += 1


def collect(trace: Trace, step: int, slot: int, stopped: bool, empty: Tensor) -> Decoded:
    """The codes and latents of the sequence whose last code is in `slot` at `step` (−1: none); `empty`
    [·, D] is a hidden state to take width, type and device from."""
    slots = trace.path(step, slot) if step >= 0 else []
    codes = [trace.tokens[i][s] for i, s in enumerate(slots)]
    hidden = [trace.hidden[i][int(trace.parents[i][s])] for i, s in enumerate(slots)]
    if not codes:
        return Decoded(empty.new_zeros(0, dtype=torch.long), empty[:0], stopped)
    return Decoded(torch.stack(codes), torch.stack(hidden), stopped)


def search_single(
    state: DecodeState, options: SamplingOptions, max_codes: int, generator: torch.Generator, on_step: OnStep
) -> Decoded:
    """Greedy or sampling with one slot."""
    config = state.model.config
    seen = seen_tokens(1, config.number_mel_codes, config.start_mel_token, state.hidden.device)
    trace = Trace()
    own = torch.zeros(1, dtype=torch.long, device=state.hidden.device)
    for step in range(max_codes):
        on_step(step)
        scores = state.model.mel_head(state.hidden).float()
        scores = forbid(penalize_repetition(scores, seen, options.repetition_penalty), config.start_mel_token)
        if options.do_sample:
            token = draw(filter_scores(scores, options, keep=1), 1, generator)[:, 0]
        else:
            token = scores.argmax(-1)
        if int(token) == config.stop_mel_token:
            return collect(trace, step - 1, 0, stopped=True, empty=state.hidden)
        for history, value in ((trace.hidden, state.hidden), (trace.tokens, token), (trace.parents, own)):
            history.append(value)
        seen[0, token] = True
        if step + 1 < max_codes:
            advance(state, token)
    return collect(trace, max_codes - 1, 0, stopped=False, empty=state.hidden)


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence: its last code is what `slot` holds at `step`."""

    score: float
    step: int
    slot: int
    stopped: bool


def search_beams(
    state: DecodeState, options: SamplingOptions, max_codes: int, generator: torch.Generator, on_step: OnStep
) -> Decoded:
    """Beam search, or beam-sample when options.do_sample."""
    config, beams, device = state.model.config, state.slots, state.hidden.device
    vocabulary = config.number_mel_codes
    seen = seen_tokens(beams, vocabulary, config.start_mel_token, device)
    running = torch.full((beams,), UNREACHABLE, device=device)
    running[0] = 0
    trace, finished = Trace(), []
    for step in range(max_codes):
        on_step(step)
        last = step + 1 == max_codes
        logs = state.model.mel_head(state.hidden).float().log_softmax(-1)
        logs = forbid(penalize_repetition(logs, seen, options.repetition_penalty), config.start_mel_token)
        if options.do_sample:
            logs = filter_scores(logs, options, keep=2)
        total = (running[:, None] + logs).flatten()
        if options.do_sample:
            picks = draw(total, 2 * beams, generator)
            scores = total[picks]
        else:
            scores, picks = total.topk(2 * beams)
        parents, tokens = picks // vocabulary, picks % vocabulary
        stops = tokens == config.stop_mel_token

        # at the limit every candidate is at its end, and only the first `beams` candidates may end
        continuing = (
            torch.arange(beams, device=device)
            if last
            else scores.masked_fill(stops, -torch.inf).topk(beams).indices
        )
        trace.hidden.append(state.hidden)
        trace.tokens.append(tokens[continuing])
        trace.parents.append(parents[continuing])
        finished += _finish(scores, parents, stops, beams, step, options.length_penalty)
        if last:
            finished += [
                Hypothesis(
                    _normalized(float(scores[slot]), step + 1, options.length_penalty), step, slot, False
                )
                for slot in range(beams)
                if not bool(stops[slot])
            ]
        finished = sorted(finished, key=lambda h: -h.score)[:beams]  # stable: earlier ones win ties
        running = scores[continuing]
        best_running = _normalized(float(running[0]), step + 1, options.length_penalty)
        if last or (len(finished) == beams and finished[-1].score >= best_running):
            break
        seen = seen[trace.parents[-1]].scatter(1, trace.tokens[-1][:, None], True)
        advance(state, trace.tokens[-1], trace.parents[-1])
    best = finished[0]
    return collect(trace, best.step, best.slot, best.stopped, state.hidden)


def _normalized(score: float, length: int, penalty: float) -> float:
    return score / length**penalty


def _finish(
    scores: Tensor, parents: Tensor, stops: Tensor, beams: int, step: int, penalty: float
) -> list[Hypothesis]:
    """Hypotheses that end with the stop token at this step; only the first `beams` candidates count."""
    return [
        Hypothesis(_normalized(float(scores[i]), step + 1, penalty), step - 1, int(parents[i]), True)
        for i in range(beams)
        if bool(stops[i])
    ]


def latent_pass(model: UnifiedVoice, prompt: Tensor, codes: Tensor) -> Tensor:
    """Second pass with trained positions: latents [n, D] at inputs start, c₀ … c_{n−2} behind the
    prompt [1, P, D]. Needed only where the codes were decoded with other positions."""
    start = torch.tensor([model.config.start_mel_token], device=codes.device)
    tokens = torch.cat([start, codes[:-1]])
    inputs = model.mel_inputs(tokens, torch.arange(len(tokens), device=codes.device))[None]
    return model.latents(torch.cat([prompt, inputs], dim=1))[0, prompt.shape[1] :]


@torch.inference_mode()
def decode(
    model: UnifiedVoice,
    prompt: Tensor,
    options: SamplingOptions,
    generator: torch.Generator,
    on_step: OnStep = lambda step: None,
) -> Decoded:
    """Codes and latents for one prompt [1, P, D]. `on_step` is called before every step and may raise."""
    max_codes = min(options.max_codes, model.config.max_mel_tokens)
    state = prepare(model, prompt, options.num_beams, max_codes, options.mel_positions)
    search = search_single if options.num_beams == 1 else search_beams
    decoded = search(state, options, max_codes, generator, on_step)
    if options.mel_positions == "trained" or not len(decoded.codes):
        return decoded
    return Decoded(decoded.codes, latent_pass(model, prompt, decoded.codes), decoded.stopped)
