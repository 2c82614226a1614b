"""`pipeline.gpt.batch.BatchDecoder` for a GPU: the same methods, its steps played from graphs, a few at a time.

One block of memory per number of beams, with room for as many sequences of the model's greatest length as fit
the cache, or for half, where the device has not that much; one that nobody uses makes way for another number
of beams.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.gpt.decode import Decoded, OnStep
from pipeline.gpt.device import CHECK_EVERY, DeviceDecoder, longest_prompt
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.noise import draw_key
from pipeline.gpt.sampling import SamplingOptions

logger = logging.getLogger(__name__)


class DeviceSequence:
    """A sequence in a group of a decoder; `decoded` or `error` is there once it has ended."""

    def __init__(self, decoder: DeviceDecoder, group: int, options: SamplingOptions, on_step: OnStep):
        self.decoder, self.group, self.options, self.on_step = decoder, group, options, on_step
        self.decoded: Decoded | None = None
        self.error: Exception | None = None

    @property
    def count(self) -> int:
        """Codes asked for so far: no fewer than there are."""
        return self.decoder.asked(self.group) if self.decoded is None else len(self.decoded.codes)

    def so_far(self) -> Decoded:
        """The codes there are, of a sequence of one slot: they do not change any more."""
        if self.options.num_beams != 1:
            raise ValueError(f"a search of {self.options.num_beams} beams knows its codes at its end only")
        return self.decoder.so_far(self.group) if self.decoded is None else self.decoded


class DeviceBatch:
    """The sequences that are being decoded. Not thread-safe: one thread joins, steps and lets leave."""

    def __init__(
        self,
        model: UnifiedVoice,
        most: int,
        cache_bytes: int,
        graphs: bool = True,
        make: Callable[..., DeviceDecoder] = DeviceDecoder,
    ):
        """`most`: sequences at once; `cache_bytes`: that all of them may take, one at least."""
        self.model, self.most, self.cache_bytes, self.graphs, self.make = (
            model,
            most,
            cache_bytes,
            graphs,
            make,
        )
        self.decoders: dict[int, DeviceDecoder] = {}
        self.shortage: dict[int, str] = {}  # what to tell of sequences with so many beams
        self.sequences: list[DeviceSequence] = []

    def __len__(self) -> int:
        return len(self.sequences)

    def bytes(self, prompt_rows: int, options: SamplingOptions) -> int:
        """What a sequence takes: every one the same, whatever its prompt."""
        return self.group_bytes(options.num_beams)

    def group_bytes(self, slots: int) -> int:
        config, dtype = self.model.config, self.model.mel_embedding.weight.dtype
        return DeviceDecoder.bytes(config, 1, slots, config.max_mel_tokens, longest_prompt(config), dtype)

    def room(self, options: SamplingOptions) -> bool:
        """Whether such a sequence can join now."""
        here = self.decoders.get(options.num_beams)
        return bool(here.free) if here is not None else self.groups(options.num_beams) > 0

    def groups(self, slots: int) -> int:
        """Sequences that a decoder made now has room for, of what the others leave; one where no other is used."""
        used = {s: len(decoder.state.count) for s, decoder in self.decoders.items() if decoder.places}
        left = self.cache_bytes - sum(count * self.group_bytes(s) for s, count in used.items())
        return min(self.most, max(left // self.group_bytes(slots), 0 if used else 1))

    def decoder(self, slots: int) -> DeviceDecoder:
        """The one for this number of beams, made where there is none; idle ones for others go first. Raises ValueError
        where there is no room, torch.OutOfMemoryError where not even one sequence fits the device."""
        if slots not in self.decoders:
            for other in [s for s, decoder in self.decoders.items() if not decoder.places]:
                del self.decoders[other]
            groups = self.groups(slots)
            if not groups:
                raise ValueError(f"no room for {slots} beams beside {len(self)} sequences with others")
            self.decoders[slots] = self._make(slots, groups)
        return self.decoders[slots]

    def _make(self, slots: int, wanted: int) -> DeviceDecoder:
        """One for `wanted` sequences, or for half, and so on."""
        groups, sizes = wanted, (slots, self.model.config.max_mel_tokens, longest_prompt(self.model.config))
        while True:
            try:
                made = self.make(self.model, groups, *sizes, self.graphs)
            except torch.OutOfMemoryError:
                if groups == 1:
                    raise
            else:
                break
            if torch.cuda.is_available():  # outside the handler, whose traceback holds the tensors
                torch.cuda.empty_cache()
            groups = -(-groups // 2)
        self.shortage.pop(slots, None)
        if groups < wanted:
            self.shortage[slots] = (
                f"the device had too little memory: {groups} segments at once instead of {wanted}"
            )
            logger.warning(self.shortage[slots])
        return made

    def notes(self, options: SamplingOptions) -> list[str]:
        """What to tell of such a sequence that is here."""
        return [self.shortage[options.num_beams]] if options.num_beams in self.shortage else []

    def join(
        self,
        prompt: Tensor,
        options: SamplingOptions,
        generator: torch.Generator,
        on_step: OnStep = lambda step: None,
    ) -> DeviceSequence:
        """Begin a sequence behind `prompt` [1, P, D]. `on_step` is called every few steps of it; what it raises ends
        this sequence alone. Raises ValueError where there is no room."""
        decoder = self.decoder(options.num_beams)
        group = decoder.join(prompt, options, draw_key(generator))
        self.sequences.append(DeviceSequence(decoder, group, options, on_step))
        return self.sequences[-1]

    def leave(self, sequence: DeviceSequence) -> None:
        """Drop a sequence that has not ended; one that is not here is ignored."""
        if sequence in self.sequences:
            self.sequences.remove(sequence)
            sequence.decoder.leave(sequence.group)

    def step(self) -> list[DeviceSequence]:
        """CHECK_EVERY codes more for every sequence. Those of which it is known that they ended have left: `decoded` or
        `error` says how."""
        ended = []
        for sequence in list(self.sequences):
            try:
                sequence.on_step(sequence.count)
            except Exception as e:  # whatever ends one sequence, the others go on
                sequence.error = e
                self.leave(sequence)
                ended.append(sequence)
        for decoder in {id(s.decoder): s.decoder for s in self.sequences}.values():
            decoder.run(CHECK_EVERY)
            done = set(decoder.finished())
            for sequence in [s for s in self.sequences if s.decoder is decoder and s.group in done]:
                self.sequences.remove(sequence)
                try:
                    sequence.decoded = decoder.take(sequence.group)
                except ArithmeticError as e:
                    sequence.error = e
                ended.append(sequence)
        return ended
