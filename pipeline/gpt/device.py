"""Decoding several sequences at once on a device that must not wait for the host: a GPU.

The values are those of `pipeline.gpt.decode`, the random numbers others (`pipeline.gpt.noise`). Steps are played from
CUDA graphs, one per number of groups, reach of the cache and number of candidates, all rounded up; whether a sequence
has ended is looked up in copies that come a few steps late.

Axes: G groups (sequences), S slots (beams of one), P prompt length, D width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pipeline.config import GPTConfig
from pipeline.gpt.decode import Decoded, OnStep, latent_pass
from pipeline.gpt.model import DURATION_SLOTS, UnifiedVoice
from pipeline.gpt.noise import draw_key
from pipeline.gpt.sampling import SamplingOptions
from pipeline.gpt.search import SearchState, cycle
from pipeline.gpt.step import StepBuffers, StepWeights
from pipeline.gpt.step_choice import choose
from pipeline.graphs import FlagReader, Graphs, bucket

GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
REACH_STEP = 256  # cache rows: reading some that are masked costs less than a graph more
WIDTHS = (32, 64, 256, 1024)  # candidates of a slot, then all
CHECK_EVERY = 4  # steps between two looks at what has ended


class OverflowInGPT(ArithmeticError):
    """A sequence's logits are no finite numbers."""


@dataclass(frozen=True)
class Place:
    """A sequence in its group."""

    prompt: Tensor
    options: SamplingOptions
    limit: int
    joined: int  # steps that were taken before


class DeviceDecoder:
    """Room for `groups` sequences of `slots` beams each, which join and leave between steps."""

    def __init__(
        self,
        model: UnifiedVoice,
        groups: int,
        slots: int,
        max_codes: int,
        prompt_rows: int,
        graphs: bool = True,
    ):
        """`max_codes`: the most codes of any sequence; `prompt_rows`: of any prompt, without the start token."""
        self.model, self.config = model, model.config
        self.weights = StepWeights.of(model)
        self.device = self.weights.tokens.device
        self.advance = choose(model, self.weights)
        self.slots, self.max_codes, self.prompt_rows = slots, max_codes, prompt_rows
        self.buffers, self.state = self.tensors(
            self.config, groups, slots, max_codes, prompt_rows, self.device, self.weights.tokens.dtype
        )
        self.buffers.rows.zero_()  # rows that are masked are still multiplied, by zero
        self.buffers.logits.zero_()
        self.buffers.mask[..., 0] = 0
        self.graphs = Graphs(self.device, graphs)
        self.places: dict[int, Place] = {}
        self.steps = 0
        self.flags = FlagReader(self.device)
        self.ended: dict[int, bool] = {}  # group -> whether it broke

    @staticmethod
    def tensors(
        config: GPTConfig,
        groups: int,
        slots: int,
        max_codes: int,
        prompt_rows: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> tuple[StepBuffers, SearchState]:
        """All the memory that it holds."""
        capacity = -(-(prompt_rows + 1 + slots * max_codes) // REACH_STEP) * REACH_STEP
        sizes = (groups, slots, capacity, prompt_rows + 1)
        buffers = StepBuffers.empty(config, *sizes, device, dtype)
        return buffers, SearchState.empty(config, groups, slots, max_codes, device, dtype)

    @classmethod
    def bytes(
        cls, config: GPTConfig, groups: int, slots: int, max_codes: int, prompt_rows: int, dtype: torch.dtype
    ) -> int:
        """What such a decoder's tensors take, counted without making them."""
        held = cls.tensors(config, groups, slots, max_codes, prompt_rows, torch.device("meta"), dtype)
        return sum(t.nbytes for t in held_tensors(held))

    @property
    def free(self) -> list[int]:
        return [group for group in range(len(self.state.count)) if group not in self.places]

    @torch.inference_mode()
    def join(self, prompt: Tensor, options: SamplingOptions, key: int) -> int:
        """Begin a sequence behind `prompt` [1, P, D]; its group. `key` of `draw_key` names its random numbers.

        Raises ValueError where it does not fit."""
        limit = min(options.max_codes, self.config.max_mel_tokens)
        if options.num_beams != self.slots or limit > self.max_codes or prompt.shape[1] > self.prompt_rows:
            raise ValueError(
                f"a sequence of {options.num_beams} beams, {limit} codes and a prompt of {prompt.shape[1]} rows; "
                f"there is room for {self.slots}, {self.max_codes} and {self.prompt_rows}"
            )
        if not self.free:
            raise ValueError(f"all {len(self.places)} groups are taken")
        group = self.free[0]
        start = prompt.new_full((1, 1), self.config.start_mel_token, dtype=torch.long)
        inputs = torch.cat([prompt, self.model.mel_inputs(start, torch.zeros_like(start))], dim=1)
        shared = inputs.shape[1]
        self.buffers.rows[:, group].zero_()  # of whoever was here before, perhaps no numbers
        self.buffers.mask[group] = -torch.inf
        self.buffers.mask[group, ..., :shared] = 0
        hidden = self.model.latents(inputs, self.buffers.cache(group))[0, -1:]
        rows = slice(group * self.slots, (group + 1) * self.slots)
        self.buffers.hidden[rows] = hidden
        self.buffers.logits[rows] = self.weights.head(hidden)
        if self.buffers.reading is not None:
            self.buffers.reading.begin(group, self.model.text_rows(prompt.shape[1]))
        self.state.begin(group, options, limit, self.config, shared, key)
        self.places[group] = Place(prompt, options, limit, self.steps)
        return group

    @torch.inference_mode()
    def run(self, steps: int) -> None:
        """Ask the device for so many steps more, and for word of what has ended by then."""
        if not self.places:
            return
        groups = min(bucket(max(self.places) + 1, GROUP_SIZES), len(self.state.count))
        buffers, state, width = self.buffers.first(groups), self.state.first(groups), self.width()
        for _ in range(steps):
            reach = self.reach()
            function = partial(cycle, self.weights, self.advance, buffers, state, reach, width)
            self.graphs.run((groups, reach, width), function)
            self.steps += 1
        self.flags.put(torch.stack([self.state.done, self.state.broken]), self.steps)

    def reach(self) -> int:
        """Rows of each group's cache that the next step may have to read."""
        rows = [
            place.prompt.shape[1] + 1 + self.slots * min(self.steps - place.joined + 1, place.limit)
            for place in self.places.values()
        ]
        return min(-(-max(rows) // REACH_STEP) * REACH_STEP, self.buffers.mask.shape[-1])

    def width(self) -> int:
        """Candidates of a slot that suffice for every sequence that is here."""
        vocabulary, options = self.config.number_mel_codes, [p.options for p in self.places.values()]
        if any(o.do_sample and not 0 < o.top_k <= WIDTHS[-1] for o in options):
            return vocabulary
        wanted = max(2 * self.slots, *(o.top_k if o.do_sample else 1 for o in options))
        return min(bucket(wanted, WIDTHS), vocabulary)

    def finished(self) -> list[int]:
        """Groups whose sequence has ended, as far as word of it is here."""
        word = self.flags.get()
        if word is not None:
            (done, broken), steps = word[0].tolist(), word[1]
            for group, place in self.places.items():
                if done[group] and place.joined < steps:
                    self.ended[group] = broken[group]
        return sorted(self.ended)

    @torch.inference_mode()
    def take(self, group: int) -> Decoded:
        """What a group that has ended decoded; the group is free then.

        Raises OverflowInGPT where its logits were no numbers."""
        place, state = self.places[group], self.state
        broken = self.ended.get(group, False)
        self.leave(group)
        if broken:
            raise OverflowInGPT(
                f"the GPT's logits are not finite after {int(state.count[group])} codes: its weights are damaged, or "
                "its numbers overflow in half precision (INDEXTTS_PRECISION=exact)"
            )
        length, slot = int(state.finished_step[group, 0]) + 1, int(state.finished_slot[group, 0])
        stopped = bool(state.stopped[group, 0])
        parents = state.parents[group, :length].tolist()
        path, sources = [slot] * length, [slot] * length  # where each code is, and the state that chose it
        for i in reversed(range(length)):
            path[i] = sources[i + 1] if i + 1 < length else slot
            sources[i] = parents[i][path[i]]
        steps = torch.arange(length, device=self.device)
        codes = state.tokens[group, :length][steps, torch.tensor(path, dtype=torch.long, device=self.device)]
        latents = state.hidden[group, :length][
            steps, torch.tensor(sources, dtype=torch.long, device=self.device)
        ]
        if place.options.second_pass and len(codes):
            latents = latent_pass(self.model, place.prompt, codes)
        return Decoded(codes, latents, stopped)

    def asked(self, group: int) -> int:
        """Codes that were asked for of a group's sequence: no fewer than it has."""
        place = self.places[group]
        return min(self.steps - place.joined, place.limit)

    @torch.inference_mode()
    def so_far(self, group: int) -> Decoded:
        """The codes that a group without beams has by now; waits for the device."""
        state, place = self.state, self.places[group]
        done = bool(state.done[group])
        length = int(state.finished_step[group, 0]) + 1 if done else int(state.count[group])
        codes = state.tokens[group, :length, 0].clone()
        latents = state.hidden[group, :length, 0].clone()
        if place.options.second_pass and len(codes):
            latents = latent_pass(self.model, place.prompt, codes)
        return Decoded(codes, latents, False)

    @torch.inference_mode()
    def leave(self, group: int) -> None:
        """Give up a group's sequence, ended or not."""
        self.state.done[group] = True
        self.places.pop(group)
        self.ended.pop(group, None)


def held_tensors(part: object) -> Iterator[Tensor]:
    """Every tensor in a structure of tuples and objects with attributes."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from held_tensors(inner)
    elif hasattr(part, "__dict__"):
        for inner in vars(part).values():
            yield from held_tensors(inner)


@torch.inference_mode()
def decode_together(
    decoder: DeviceDecoder,
    prompts: Sequence[Tensor],
    options: Sequence[SamplingOptions],
    keys: Sequence[int],
    on_step: OnStep = lambda step: None,
) -> list[Decoded]:
    """Every prompt [1, P, D] decoded, all at once. `on_step` is called every CHECK_EVERY steps and may raise."""
    start = decoder.steps
    found: dict[int, Decoded] = {}
    try:
        asked = zip(prompts, options, keys, strict=True)
        index_of = {decoder.join(*sequence): index for index, sequence in enumerate(asked)}
        while len(found) < len(prompts):
            on_step(decoder.steps - start)
            decoder.run(CHECK_EVERY)
            for group in decoder.finished():
                found[index_of[group]] = decoder.take(group)
    finally:
        for group in list(decoder.places):
            decoder.leave(group)
    return [found[index] for index in range(len(prompts))]


class DeviceDecoders:
    """One decoder for one sequence at a time per number of beams, kept with its cache and its graphs."""

    def __init__(self, model: UnifiedVoice, graphs: bool = True):
        self.model, self.graphs = model, graphs
        self.kept: dict[int, DeviceDecoder] = {}
        self.lock = threading.Lock()  # its buffers are those of one caller at a time

    def decoder(self, slots: int, max_codes: int) -> DeviceDecoder:
        found = self.kept.get(slots)
        if found is None or found.max_codes < max_codes:
            self.kept.pop(slots, None)  # its memory first
            rows = longest_prompt(self.model.config)
            found = self.kept[slots] = DeviceDecoder(self.model, 1, slots, max_codes, rows, self.graphs)
        return found

    def decode(
        self,
        prompt: Tensor,
        options: SamplingOptions,
        generator: torch.Generator,
        on_step: OnStep = lambda step: None,
    ) -> Decoded:
        """What `pipeline.gpt.decode.decode` does."""
        with self.lock:
            limit = min(options.max_codes, self.model.config.max_mel_tokens)
            decoder = self.decoder(options.num_beams, limit)
            return decode_together(decoder, [prompt], [options], [draw_key(generator)], on_step)[0]

    def clear(self) -> None:
        """Give all of it back."""
        with self.lock:
            self.kept.clear()


def longest_prompt(config: GPTConfig) -> int:
    """Rows of the longest prompt there can be."""
    return config.speaker_rows + DURATION_SLOTS + config.max_text_tokens + 2
