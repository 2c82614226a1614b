"""The time a request may take, and word of how far it is."""

from __future__ import annotations

import logging
import os
import time

logger = logging.getLogger(__name__)

LIMIT_VARIABLE = "INDEXTTS_TIME_LIMIT"
DEFAULT_SECONDS = 600.0
REPORT_SECONDS = 5.0
STAGES = {"gpt": (0.0, 0.6), "s2mel": (0.6, 0.9), "vocoder": (0.9, 1.0)}  # rough share of a segment's time


class TimeLimitError(ValueError):
    """The request took longer than it may."""


def time_limit() -> float:
    """Seconds a request may take, from INDEXTTS_TIME_LIMIT. Raises ValueError when it is no number above 0."""
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_SECONDS))
    try:
        seconds = float(text)
    except ValueError as e:
        raise ValueError(f"{LIMIT_VARIABLE} is '{text}'; allowed: seconds above 0") from e
    if not seconds > 0:
        raise ValueError(f"{LIMIT_VARIABLE} is '{text}'; allowed: seconds above 0")
    return seconds


class Budget:
    """Called before every step of a request: raises TimeLimitError when its time is over, and logs progress
    every few seconds."""

    def __init__(self, seconds: float, segments: int):
        self.seconds, self.segments, self.segment = seconds, segments, 0
        self.start = self.reported = time.monotonic()

    def __call__(self, stage: str, step: int, of: int) -> None:
        now = time.monotonic()
        elapsed = now - self.start
        if elapsed > self.seconds:
            raise TimeLimitError(
                f"the request took longer than {self.seconds:g} s ({stage}, segment {self.segment + 1} of "
                f"{self.segments}); send a shorter text, or fewer num_beams and diffusion_steps"
            )
        if now - self.reported >= REPORT_SECONDS:
            self.reported = now
            low, high = STAGES.get(stage, (0.0, 0.0))
            done = (self.segment + low + (high - low) * step / of) / self.segments
            left = f", about {elapsed * (1 - done) / done:.0f} s left" if done > 0 else ""
            logger.info(
                "segment %d of %d, %s %.0f %%, %.0f %% of all%s",
                self.segment + 1,
                self.segments,
                stage,
                100 * step / of,
                100 * done,
                left,
            )
