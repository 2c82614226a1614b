"""Decoding mel codes over a preallocated KV cache: greedy, sampling, beam and beam-sample search.

Axes: S slots (1, or one per beam), V mel vocabulary, D width, P prompt length. Step i reads the
hidden state after code i−1 (step 0: after the start token) and chooses code i. Semantics are those
of Hugging Face `generate` 4.52.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.sampling import (
    POSITION_OFFSET,
    SamplingOptions,
    draw,
    filter_scores,
    forbid,
    penalize_repetition,
    seen_tokens,
)
from pipeline.gpt.step import StepBuffers, StepWeights, step

UNREACHABLE = -1e9  # score of beams and hypotheses that do not exist yet
OnStep = Callable[[int], None]
Move = tuple[Tensor, Tensor | None]  # tokens [S] to feed, and the slot [S] each one continues (None: itself)
Search = Generator[Move, None, "Decoded"]  # between two moves the state is a step further


class NonFiniteError(ArithmeticError):
    """The GPT's logits are not finite numbers."""


@dataclass(frozen=True)
class Decoded:
    """codes [n] int64; latents [n, D], the hidden states that chose them (after both final norms), at the positions
    decoded with or, where they are wanted at trained ones, at those;
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
        slots, parents = [slot], torch.stack(self.parents).tolist()
        for i in range(step, 0, -1):
            slots.append(parents[i][slots[-1]])
        return slots[::-1]


@dataclass
class DecodeState:
    """One sequence being decoded: group 0 of its buffers."""

    model: UnifiedVoice
    weights: StepWeights
    buffers: StepBuffers
    slots: int
    shared: int  # cache rows of prompt and start token, one copy for all slots
    offset: int  # position of code k is k + offset
    step: int = 0  # codes fed so far

    @property
    def hidden(self) -> Tensor:
        """[S, D] of the newest position, until the next step."""
        return self.buffers.hidden

    @property
    def logits(self) -> Tensor:
        """[S, V] of the newest position in float32, until the next step. Raises NonFiniteError."""
        logits = self.buffers.logits.float()
        if not math.isfinite(float(logits.sum())):
            raise NonFiniteError(f"the GPT's logits at code {self.step} are not finite numbers")
        return logits


def prepare(model: UnifiedVoice, prompt: Tensor, slots: int, max_codes: int, positions: str) -> DecodeState:
    """Run the prompt [1, P, D] and the start token; every slot begins there."""
    device, dtype = prompt.device, prompt.dtype
    start = torch.tensor([[model.config.start_mel_token]], device=device)
    inputs = torch.cat([prompt, model.mel_inputs(start, torch.zeros_like(start))], dim=1)
    shared = inputs.shape[1]
    capacity = shared + slots * max_codes
    buffers = StepBuffers.empty(model.config, 1, slots, capacity, shared, device, dtype)
    buffers.mask[..., :shared] = 0
    weights = StepWeights.of(model)
    hidden = model.latents(inputs, buffers.cache(0))[0, -1:]
    buffers.hidden.copy_(hidden)
    buffers.logits.copy_(weights.head(hidden))
    if buffers.reading is not None:
        buffers.reading.begin(0, model.text_rows(prompt.shape[1]))
    return DecodeState(model, weights, buffers, slots, shared, POSITION_OFFSET[positions])


def advance(state: DecodeState, tokens: Tensor, parents: Tensor | None = None) -> None:
    """Feed one token per slot [S]; `parents` [S] says which slot each one continues (None: itself)."""
    step(state.weights, state.buffers, feed(state, tokens, parents))


def feed(state: DecodeState, tokens: Tensor, parents: Tensor | None) -> int:
    """Put into the buffers what the next step takes; the reach to take it with."""
    buffers = state.buffers
    row = state.shared + state.step * state.slots
    reach = row + state.slots
    mask = buffers.mask[0, 0]
    if parents is not None:
        mask[:, state.shared : row] = mask[parents, state.shared : row]
        if buffers.reading is not None:
            buffers.reading.reorder(0, parents)
    mask[:, row:reach].fill_diagonal_(0)
    torch.arange(row, reach, out=buffers.writes)
    buffers.positions.fill_(state.step + state.offset)
    buffers.tokens.copy_(tokens)
    state.step += 1
    return reach


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
    state: DecodeState, options: SamplingOptions, max_codes: int, generator: torch.Generator, trace: Trace
) -> Search:
    """Greedy or sampling with one slot."""
    config = state.model.config
    seen = seen_tokens(1, config.number_mel_codes, config.start_mel_token, state.hidden.device)
    own = torch.zeros(1, dtype=torch.long, device=state.hidden.device)
    for index in range(max_codes):
        scores = state.logits
        scores = forbid(penalize_repetition(scores, seen, options.repetition_penalty), config.start_mel_token)
        if options.do_sample:
            token = draw(filter_scores(scores, options, keep=1), 1, generator)[:, 0]
        else:
            token = scores.argmax(-1)
        if int(token) == config.stop_mel_token:
            return collect(trace, index - 1, 0, stopped=True, empty=state.hidden)
        for history, value in (
            (trace.hidden, state.hidden.clone()),
            (trace.tokens, token),
            (trace.parents, own),
        ):
            history.append(value)
        seen[0, token] = True
        if index + 1 < max_codes:
            yield token, None
    return collect(trace, max_codes - 1, 0, stopped=False, empty=state.hidden)


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence: its last code is what `slot` holds at `step`."""

    score: float
    step: int
    slot: int
    stopped: bool


def search_beams(
    state: DecodeState, options: SamplingOptions, max_codes: int, generator: torch.Generator, trace: Trace
) -> Search:
    """Beam search, or beam-sample when options.do_sample."""
    config, beams, device = state.model.config, state.slots, state.hidden.device
    vocabulary = config.number_mel_codes
    seen = seen_tokens(beams, vocabulary, config.start_mel_token, device)
    running = torch.full((beams,), UNREACHABLE, device=device)
    running[0] = 0
    finished: list[Hypothesis] = []
    for index in range(max_codes):
        last = index + 1 == max_codes
        logs = state.logits.log_softmax(-1)
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
        trace.hidden.append(state.hidden.clone())
        trace.tokens.append(tokens[continuing])
        trace.parents.append(parents[continuing])
        candidates = list(zip(scores.tolist(), parents.tolist(), stops.tolist(), strict=True))
        finished += _finish(candidates[:beams], index, options.length_penalty)
        if last:
            finished += [
                Hypothesis(_normalized(score, index + 1, options.length_penalty), index, slot, False)
                for slot, (score, _, stop) in enumerate(candidates[:beams])
                if not stop
            ]
        finished = sorted(finished, key=lambda h: -h.score)[:beams]  # stable: earlier ones win ties
        running = scores[continuing]
        best_running = _normalized(float(running[0]), index + 1, options.length_penalty)
        if last or (len(finished) == beams and finished[-1].score >= best_running):
            break
        seen = seen[trace.parents[-1]].scatter(1, trace.tokens[-1][:, None], True)
        yield trace.tokens[-1], trace.parents[-1]
    best = finished[0]
    return collect(trace, best.step, best.slot, best.stopped, state.hidden)


def _normalized(score: float, length: int, penalty: float) -> float:
    return score / length**penalty


def _finish(candidates: list[tuple[float, int, bool]], step: int, penalty: float) -> list[Hypothesis]:
    """Hypotheses that end with the stop token at this step, of the candidates (score, parent, stop) that may end."""
    return [
        Hypothesis(_normalized(score, step + 1, penalty), step - 1, parent, True)
        for score, parent, stop in candidates
        if stop
    ]


def latent_pass(model: UnifiedVoice, prompt: Tensor, codes: Tensor) -> Tensor:
    """Second pass with trained positions: latents [n, D] at inputs start, c₀ … c_{n−2} behind the
    prompt [1, P, D]. Needed only where the codes were decoded with other positions."""
    start = torch.tensor([model.config.start_mel_token], device=codes.device)
    tokens = torch.cat([start, codes[:-1]])
    inputs = model.mel_inputs(tokens, torch.arange(len(tokens), device=codes.device))[None]
    return model.latents(torch.cat([prompt, inputs], dim=1))[0, prompt.shape[1] :]


class Sequence:
    """One prompt on its way to codes. Whoever drives it calls `choose` and feeds what it says, in turn."""

    def __init__(
        self,
        model: UnifiedVoice,
        prompt: Tensor,
        options: SamplingOptions,
        generator: torch.Generator,
        on_step: OnStep = lambda step: None,
    ):
        """Runs the prompt [1, P, D]. `on_step` is called before every step and may raise."""
        limit = min(options.max_codes, model.config.max_mel_tokens)
        self.prompt, self.options, self.on_step = prompt, options, on_step
        self.state = prepare(model, prompt, options.num_beams, limit, options.mel_positions)
        self.trace = Trace()
        search = search_single if options.num_beams == 1 else search_beams
        self.search = search(self.state, options, limit, generator, self.trace)
        self.decoded: Decoded | None = None  # once it has ended
        self.error: Exception | None = None  # what ended it instead

    @property
    def count(self) -> int:
        """Codes fed so far."""
        return self.state.step

    def choose(self) -> Move | None:
        """What to feed next; None when it has ended, `decoded` is there then."""
        self.on_step(self.state.step)
        try:
            return next(self.search)
        except StopIteration as end:
            self.decoded = self.second_pass(end.value)
            return None

    def second_pass(self, decoded: Decoded) -> Decoded:
        """Latents of trained positions, where the codes were decoded with others."""
        if not self.options.second_pass or not len(decoded.codes):
            return decoded
        latents = latent_pass(self.state.model, self.prompt, decoded.codes)
        return Decoded(decoded.codes, latents, decoded.stopped)

    def so_far(self) -> Decoded:
        """The codes there are, of a sequence of one slot: they do not change any more."""
        if self.options.num_beams != 1:
            raise ValueError(f"a search of {self.options.num_beams} beams knows its codes at its end only")
        found = collect(self.trace, len(self.trace.tokens) - 1, 0, stopped=False, empty=self.state.hidden)
        return self.second_pass(found)


@torch.inference_mode()
def decode(
    model: UnifiedVoice,
    prompt: Tensor,
    options: SamplingOptions,
    generator: torch.Generator,
    on_step: OnStep = lambda step: None,
    trained_latents: bool = True,
) -> Decoded:
    sequence = Sequence(model, prompt, options, generator, on_step)
    while (move := sequence.choose()) is not None:
        advance(sequence.state, *move)
    return sequence.decoded
