"""Searching codes on the device: `cycle` chooses a code for every sequence from its logits, records it, feeds it.

Greedy, sampling, beam and beam-sample search as in `pipeline.gpt.decode`, in a form that can be recorded once and
played again: every input is a tensor whose address stays, nothing is decided by a value on the host, and no sum is
taken in an order that changes. Sequences are at steps of their own; one that has ended stays as it is.

Axes: G groups (sequences), S slots (beams of one; 1: no beams), V mel vocabulary, D width, K candidates of a slot, N
most codes of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pipeline.config import GPTConfig
from pipeline.gpt.noise import gumbel
from pipeline.gpt.sampling import POSITION_OFFSET, PROMPT_TOKEN, SamplingOptions
from pipeline.gpt.step import Advance, StepBuffers, StepWeights

UNREACHABLE = -1e9  # score of beams that do not exist yet
STEP_BITS = 32  # a counter is the step, then slot · V + token


@dataclass(frozen=True)
class Settings:
    """How each group samples, [G] each."""

    sample: Tensor  # bool
    temperature: Tensor
    top_k: Tensor  # V where it is off
    top_p: Tensor
    repetition_penalty: Tensor
    length_penalty: Tensor
    limit: Tensor  # most codes
    offset: Tensor  # position of code k is k + offset
    key: Tensor  # of its random numbers

    @classmethod
    def empty(cls, groups: int, device: torch.device) -> Settings:
        def ones(dtype: torch.dtype) -> Tensor:
            return torch.ones(groups, dtype=dtype, device=device)

        reals = {name: ones(torch.float32) for name in ("temperature", "top_p", "repetition_penalty")}
        whole = {name: ones(torch.long) for name in ("top_k", "limit", "offset", "key")}
        return cls(sample=ones(torch.bool), length_penalty=ones(torch.float32), **reals, **whole)

    def set(self, group: int, options: SamplingOptions, limit: int, vocabulary: int, key: int) -> None:
        values = {
            "sample": options.do_sample,
            "temperature": options.temperature if options.do_sample else 1.0,
            "top_k": options.top_k or vocabulary,
            "top_p": options.top_p,
            "repetition_penalty": options.repetition_penalty,
            "length_penalty": options.length_penalty,
            "limit": limit,
            "offset": POSITION_OFFSET[options.mel_positions],
            "key": key,
        }
        for name, value in values.items():
            getattr(self, name)[group] = value


@dataclass(frozen=True)
class SearchState:
    """What a search knows of each group, and its history. A finished hypothesis ends with what `finished_slot` holds at
    `finished_step`; its score is −inf where there is none."""

    settings: Settings
    count: Tensor  # [G] codes chosen so far
    shared: Tensor  # [G] cache rows of prompt and start token
    done: Tensor  # [G] bool
    broken: Tensor  # [G] bool: logits that are no numbers
    running: Tensor  # [G, S] log-probability of each beam
    seen: Tensor  # [G, S, V] bool: what the repetition penalty counts
    finished: Tensor  # [G, S] normalized scores, the best first
    finished_step: Tensor  # [G, S]
    finished_slot: Tensor  # [G, S]
    stopped: Tensor  # [G, S] bool: by the model, not at the limit
    tokens: Tensor  # [G, N + 1, S]; the last row takes what ended groups write
    parents: Tensor  # [G, N + 1, S]: slot one step before
    hidden: Tensor  # [G, N + 1, S, D] that chose the tokens, by the slots of the step before

    @classmethod
    def empty(
        cls, config: GPTConfig, groups: int, slots: int, limit: int, device: torch.device, dtype: torch.dtype
    ) -> SearchState:
        vocabulary, width = config.number_mel_codes, config.model_dim

        def zeros(*shape: int, kind: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(groups, *shape, dtype=kind, device=device)

        return cls(
            settings=Settings.empty(groups, device),
            count=zeros(),
            shared=zeros() + 1,
            done=~zeros(kind=torch.bool),
            broken=zeros(kind=torch.bool),
            running=zeros(slots, kind=torch.float32),
            seen=zeros(slots, vocabulary, kind=torch.bool),
            finished=zeros(slots, kind=torch.float32) - torch.inf,
            finished_step=zeros(slots),
            finished_slot=zeros(slots),
            stopped=zeros(slots, kind=torch.bool),
            tokens=zeros(limit + 1, slots),
            parents=zeros(limit + 1, slots),
            hidden=zeros(limit + 1, slots, width, kind=dtype),
        )

    def first(self, groups: int) -> SearchState:
        """Views of the first groups."""
        settings = Settings(*(getattr(self.settings, f.name)[:groups] for f in fields(Settings)))
        rest = (getattr(self, f.name)[:groups] for f in fields(SearchState) if f.name != "settings")
        return SearchState(settings, *rest)

    def begin(
        self, group: int, options: SamplingOptions, limit: int, config: GPTConfig, shared: int, key: int
    ) -> None:
        """A new sequence in `group`, whose prompt and start token take `shared` rows of its cache."""
        self.settings.set(group, options, limit, config.number_mel_codes, key)
        self.count[group], self.shared[group], self.broken[group] = 0, shared, False
        self.running[group], self.running[group, 0] = UNREACHABLE, 0
        self.seen[group] = False
        for token in (PROMPT_TOKEN, config.start_mel_token):
            self.seen[group, :, token] = True
        self.finished[group] = -torch.inf
        self.done[group] = False


def suffix_sums(x: Tensor) -> Tensor:
    """Sums of what stands at and behind each place of the last axis, always taken in the same order."""
    reach = 1
    while reach < x.shape[-1]:
        x = x + torch.nn.functional.pad(x[..., reach:], (0, reach))
        reach *= 2
    return x


def candidates(scores: Tensor, settings: Settings, width: int, keep: int) -> tuple[Tensor, Tensor]:
    """The `width` best of scores [G, S, V] after temperature, top-k and top-p: values and tokens [G, S, K], the best
    first, −inf where a filter removes one; at least `keep` stay, and all where a group does not sample."""
    values, tokens = (scores / settings.temperature[:, None, None]).topk(width)
    rank = torch.arange(width, device=scores.device)
    most = settings.top_k.clamp(min=keep)[:, None, None]
    sample, top_p = settings.sample[:, None, None], settings.top_p[:, None, None]
    values = values.masked_fill(sample & (rank >= most), -torch.inf)
    unlikely = suffix_sums(values.softmax(-1)) <= 1 - top_p
    removed = sample & unlikely & (top_p < 1) & (rank >= keep)
    return values.masked_fill(removed, -torch.inf), tokens


def noise(state: SearchState, tokens: Tensor, vocabulary: int) -> Tensor:
    """Gumbel noise of each candidate [G, S, K]; 0 where its group does not sample."""
    slots = torch.arange(tokens.shape[1], device=tokens.device)[:, None]
    counter = (state.count[:, None, None] << STEP_BITS) + slots * vocabulary + tokens
    drawn = gumbel(counter, state.settings.key[:, None, None])
    return torch.where(state.settings.sample[:, None, None], drawn, 0)


def penalized(scores: Tensor, state: SearchState, start_token: int) -> Tensor:
    """Scores [G, S, V] after the repetition penalty, without the start token, which is no code."""
    penalty = state.settings.repetition_penalty[:, None, None]
    pushed = torch.where(scores < 0, scores * penalty, scores / penalty)
    scores = torch.where(state.seen, pushed, scores)
    scores[..., start_token] = -torch.inf
    return scores


def choose_one(scores: Tensor, state: SearchState, config: GPTConfig, width: int) -> tuple[Tensor, ...]:
    """Without beams: (tokens [G, 1], parents [G, 1], ended [G]) of logits [G, 1, V]."""
    values, tokens = candidates(
        penalized(scores, state, config.start_mel_token), state.settings, width, keep=1
    )
    best = (values + noise(state, tokens, config.number_mel_codes)).argmax(-1, keepdim=True)
    token = tokens.gather(-1, best)[..., 0]
    stop = token == config.stop_mel_token
    ended = stop | (state.count + 1 >= state.settings.limit)[:, None]
    _keep(state.finished_step, state.done, state.count[:, None] - stop.long())
    _keep(state.stopped, state.done, stop)
    _keep(state.finished, state.done, torch.where(ended, 0.0, -torch.inf))
    return token, torch.zeros_like(token), ended[:, 0]


def choose_beams(scores: Tensor, state: SearchState, config: GPTConfig, width: int) -> tuple[Tensor, ...]:
    """With beams: (tokens [G, S], parents [G, S], ended [G]) of logits [G, S, V]."""
    slots, settings = scores.shape[1], state.settings
    logs = penalized(scores.log_softmax(-1), state, config.start_mel_token)
    values, tokens = candidates(logs, settings, width, keep=2)
    total = (state.running[..., None] + values).flatten(1)
    picks = (total + noise(state, tokens, config.number_mel_codes).flatten(1)).topk(2 * slots).indices
    scores, parents, tokens = total.gather(1, picks), picks // width, tokens.flatten(1).gather(1, picks)
    stops = tokens == config.stop_mel_token

    # at the limit every candidate is at its end, and only the first S candidates may end
    last = (state.count + 1 >= settings.limit)[:, None]
    best = scores.masked_fill(stops, -torch.inf).topk(slots).indices
    continuing = torch.where(last, torch.arange(slots, device=scores.device), best)
    length = (state.count + 1)[:, None].float() ** settings.length_penalty[:, None]
    score, may_end, stop = scores[:, :slots] / length, (stops | last)[:, :slots], stops[:, :slots]
    count = state.count[:, None].expand(-1, slots)
    own = torch.arange(slots, device=scores.device).expand_as(count)
    offered = (
        torch.cat([state.finished, score.masked_fill(~may_end, -torch.inf)], 1),
        torch.cat([state.finished_step, count - stop.long()], 1),
        torch.cat([state.finished_slot, torch.where(stop, parents[:, :slots], own)], 1),
        torch.cat([state.stopped, stop], 1),
    )
    order = offered[0].sort(dim=1, descending=True, stable=True).indices[:, :slots]  # earlier ones win ties
    names = (state.finished, state.finished_step, state.finished_slot, state.stopped)
    for kept, values in zip(names, offered, strict=True):
        _keep(kept, state.done, values.gather(1, order))
    running = scores.gather(1, continuing)
    _keep(state.running, state.done, running)
    # worst finished ≥ best running; −inf where fewer than S are finished
    ended = last[:, 0] | (state.finished[:, -1] >= running[:, 0] / length[:, 0])
    return tokens.gather(1, continuing), parents.gather(1, continuing), ended


def _keep(target: Tensor, done: Tensor, values: Tensor) -> None:
    """Put values [G, …] into `target` but for groups that are done."""
    target.copy_(torch.where(done[:, None], target, values))


def cycle(
    weights: StepWeights, advance: Advance, buffers: StepBuffers, state: SearchState, reach: int, width: int
) -> None:
    """One code more for every group that is not done. `buffers` hold the logits of the newest position and
    get the next, by `advance`, the step of `weights`.

    `reach`: rows of each group's cache that are read, those written here among them; `width`: candidates of a slot, at
    least 2 · S and every group's top_k."""
    config, slots = weights.config, buffers.mask.shape[2]
    logits = buffers.logits.float().unflatten(0, (-1, slots))
    state.broken.logical_or_(~state.done & ~torch.isfinite(logits).flatten(1).all(1))
    choose = choose_one if slots == 1 else choose_beams
    tokens, parents, ended = choose(logits, state, config, width)
    record(state, tokens, parents, buffers.hidden)
    active = ~(state.done | ended | state.broken)
    feed(buffers, state, tokens, parents, active, reach, len(weights.positions) - 1)
    advance(buffers, reach)
    state.count.add_((~state.done).long())
    state.done.copy_(~active)


def record(state: SearchState, tokens: Tensor, parents: Tensor, hidden: Tensor) -> None:
    """What was chosen [G, S], and by what hidden states [R, D], into the history of groups that are not done."""
    rows = state.tokens.shape[1]
    own = torch.arange(len(state.count), device=tokens.device) * rows
    place = own + torch.where(state.done, rows - 1, state.count)
    for history, values in (
        (state.tokens, tokens),
        (state.parents, parents),
        (state.hidden, hidden.unflatten(0, tokens.shape)),
    ):
        history.flatten(0, 1).index_copy_(0, place, values)


def feed(
    buffers: StepBuffers,
    state: SearchState,
    tokens: Tensor,
    parents: Tensor,
    active: Tensor,
    reach: int,
    last: int,
) -> None:
    """Make the step's inputs of the codes chosen [G, S]; groups that are not active write a row of their own again.
    `last`: the highest mel position."""
    groups, _, slots, capacity = buffers.mask.shape
    own = torch.arange(slots, device=tokens.device)
    row = (state.shared + state.count * slots)[:, None] + own
    row = row.clamp(max=reach - slots + own)  # beyond it only in groups that are not active
    parents = torch.where(active[:, None], parents, own)
    buffers.tokens.copy_(tokens.flatten())
    positions = (state.count + state.settings.offset).clamp(max=last)
    buffers.positions.copy_(positions[:, None].expand(-1, slots).flatten())
    first = torch.arange(groups, device=tokens.device)[:, None] * capacity
    buffers.writes.copy_((first + row).flatten())
    if slots > 1:
        visible = buffers.mask[..., :reach]
        visible.copy_(visible.gather(2, parents[:, None, :, None].expand(-1, 1, -1, reach)))
        state.seen.copy_(state.seen.gather(1, parents[..., None].expand_as(state.seen)))
        if buffers.reading is not None:
            buffers.reading.places.copy_(buffers.reading.places.gather(1, parents))
    buffers.mask.scatter_(3, row[:, None, :, None], 0.0)
    state.seen.scatter_(2, tokens[..., None], True)
