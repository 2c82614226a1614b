"""Several sequences decoded in one batch: they join and leave between steps, each with its prompt, length, beams,
settings and generator of its own.

A sequence's codes are those it has alone. Its cache, its search and its attention are its own; only the products with
the weights are shared, whose kernels treat every row alike (`alike`). A cache is one block of fixed capacity per
sequence, freed when it leaves; nothing of the others moves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gpt.decode import OnStep, Sequence, feed
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.sampling import SamplingOptions
from pipeline.gpt.step import StepWeights, step_together

ALIKE_ROWS = (2, 3, 4, 5, 8, 13)


class BatchDecoder:
    """The sequences that are being decoded. Not thread-safe: one thread joins, steps and lets leave."""

    def __init__(self, model: UnifiedVoice):
        self.model = model
        self.sequences: list[Sequence] = []

    def __len__(self) -> int:
        return len(self.sequences)

    def bytes(self, prompt_rows: int, options: SamplingOptions) -> int:
        """The most memory a sequence behind a prompt of so many rows takes: its cache, and what it remembers
        per step."""
        config = self.model.config
        codes, size = (
            min(options.max_codes, config.max_mel_tokens),
            self.model.mel_embedding.weight.element_size(),
        )
        rows = prompt_rows + 1 + options.num_beams * codes
        cache = rows * config.layers * 2 * config.model_dim * size
        masks = options.num_beams * rows * size
        remembered = options.num_beams * codes * config.model_dim * size
        return cache + masks + remembered + options.num_beams * config.number_mel_codes * size

    def room(self, options: SamplingOptions) -> bool:
        """Whether such a sequence can join now: memory is made when it does."""
        return True

    def notes(self, options: SamplingOptions) -> list[str]:
        """What to tell of such a sequence that is here."""
        return []

    @torch.inference_mode()
    def join(
        self,
        prompt: Tensor,
        options: SamplingOptions,
        generator: torch.Generator,
        on_step: OnStep = lambda step: None,
    ) -> Sequence:
        """Begin a sequence behind `prompt` [1, P, D]. `on_step` is called before every step of it; what it raises ends
        this sequence alone."""
        sequence = Sequence(self.model, prompt, options, generator, on_step)
        self.sequences.append(sequence)
        return sequence

    def leave(self, sequence: Sequence) -> None:
        """Drop a sequence that has not ended; one that is not here is ignored."""
        if sequence in self.sequences:
            self.sequences.remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[Sequence]:
        """One code more for every sequence. Those that ended with it have left: `decoded` or `error` says how."""
        moving: list[Sequence] = []
        reaches: list[int] = []
        ended: list[Sequence] = []
        for sequence in self.sequences:
            try:
                move = sequence.choose()
                if move is not None:
                    reaches.append(feed(sequence.state, *move))
            except Exception as e:  # whatever ends one sequence, the others go on
                sequence.error, move = e, None
            (ended if move is None else moving).append(sequence)
        self.sequences = moving
        if moving:
            weights = moving[-1].state.weights
            step_together(weights, [sequence.state.buffers for sequence in moving], reaches)
        return ended


@torch.inference_mode()
def alike(model: UnifiedVoice) -> bool:
    """Whether the kernels of this model's weights, on this machine, give a row the same values whatever the rows
    beside it are. Where they do not, codes in company can differ from those alone by what rounding changes."""
    weights, generator = StepWeights.of(model), torch.Generator().manual_seed(0)
    first = weights.layers[0]
    size = weights.config.model_dim
    for layer, width in (
        (first.project, size),
        (first.output, size),
        (first.up, size),
        (first.down, 4 * size),
        (weights.head, size),
    ):
        rows = torch.randn(max(ALIKE_ROWS), width, generator=generator).to(weights.tokens)
        alone = torch.cat([layer(row[None].contiguous()) for row in rows])
        if any(not torch.equal(layer(rows[:count].contiguous()), alone[:count]) for count in ALIKE_ROWS):
            return False
    return True
