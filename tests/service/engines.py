"""Engines over the mini model, and requests for them without files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.model import Model
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.timing import OnProgress, Watch
from service.engine.engine import Engine
from service.engine.limits import Limits
from service.health import Health
from service.prepared import Prepared
from service.request import Request


def no_files(request: Request, on_progress: OnProgress) -> Prepared:
    raise ValueError("this engine has no files")


@contextlib.contextmanager
def engine_of(model: Model, prepare=no_files, **changes) -> Iterator[Engine]:
    limits = Limits(**{"segment_batch": 4, "cache_bytes": 2**28, "most_waiting": 64} | changes)
    engine = Engine(Synthesizer(model), prepare, Health(model.device), limits)
    try:
        yield engine
    finally:
        engine.close()


def prepared_of(model: Model, script, delivery: Delivery, watch: Watch, seed: int = 0) -> Prepared:
    request = Request("no matter", Path("none.wav"), seed=seed)
    return Prepared(
        request,
        script,
        None,
        model,
        None,
        delivery,
        watch,
        time.perf_counter(),
        {(None, None): (None, delivery)},
    )
