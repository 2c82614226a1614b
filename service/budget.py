"""The time a request may take, and word of how far it is."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
SEGMENT = "segment"  # the stage that says which segment of how many comes next
STAGES = {"gpt": (0.0, 0.6), "s2mel": (0.6, 0.9), "vocoder": (0.9, 1.0)}  # rough share of a segment's time


class TimeLimitError(ValueError):
    """The request took longer than it may."""


class Budget:
    """Called before every step of a request: raises TimeLimitError when its time is over, and logs progress
    every few seconds. It runs from its making."""

    def __init__(self, seconds: float):
        self.seconds, self.segment, self.segments = seconds, 0, 0
        self.start = self.reported = time.monotonic()

    def __call__(self, stage: str, step: int, of: int) -> None:
        if stage == SEGMENT:
            self.segment, self.segments = step, of
        now = time.monotonic()
        elapsed = now - self.start
        place = f"{stage}, segment {self.segment + 1} of {self.segments}" if self.segments else stage
        if elapsed > self.seconds:
            raise TimeLimitError(
                f"the request took longer than {self.seconds:g} s ({place}); send a shorter text, or fewer "
                f"num_beams and diffusion_steps"
            )
        if now - self.reported >= REPORT_SECONDS:
            self.reported = now
            where = f"segment {self.segment + 1} of {self.segments}, " if self.segments else ""
            logger.info(
                "%s%s %.0f %%, %s", where, stage, 100 * step / of, self.remaining(stage, step / of, elapsed)
            )

    def remaining(self, stage: str, share: float, elapsed: float) -> str:
        """How much is done and how long the rest will take, at the speed so far."""
        low, high = STAGES.get(stage, (0.0, 0.0))
        done = (self.segment + low + (high - low) * share) / max(self.segments, 1)
        left = f", about {elapsed * (1 - done) / done:.0f} s left" if done > 0 else ""
        return f"{100 * done:.0f} % of all{left}"
