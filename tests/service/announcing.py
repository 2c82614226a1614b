"""The service's predictor, which also logs the start of every stage: how a test knows where a request is."""

import logging
from contextlib import contextmanager

import service.service
from pipeline.timing import Stopwatch
from predict import Predictor as Served

logger = logging.getLogger("announcing")


class Announcer(Stopwatch):
    @contextmanager
    def __call__(self, stage):
        logger.info("stage %s", stage)
        with super().__call__(stage):
            yield


class Predictor(Served):
    def setup(self) -> None:
        super().setup()
        service.service.Stopwatch = Announcer
