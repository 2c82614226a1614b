"""One process or several: PyTorch's own DistributedDataParallel, started by torchrun."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from finetune.loop import Outcome, Run, train
from finetune.losses import Losses
from finetune.trainable import Trained

WAIT = timedelta(hours=6)  # the others wait while the first prepares the data


@dataclass(frozen=True)
class Processes:
    """How many there are, and which this is."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Those that torchrun started, or this one alone."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=WAIT)
        return cls(distributed.get_rank(), count)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first does it, then the others, who find it done."""
        if self.count > 1 and not self.is_first:
            distributed.barrier()
        yield
        if self.count > 1 and self.is_first:
            distributed.barrier()

    def train(
        self, trained: Trained, losses: Losses, run: Run, folder: Path, validate: Callable[[], float] | None
    ) -> Outcome:
        """`finetune.loop.train`; all begin from the checkpoint that all see."""
        if self.count > 1:
            distributed.barrier()
        outcome = train(trained, losses, run, folder, validate)
        if self.count > 1:
            distributed.barrier()
        return outcome
