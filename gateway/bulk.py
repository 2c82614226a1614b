"""What a worker of bulk synthesis does with a batch of rows."""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gateway.door import Door
from gateway.problem import Problem
from gateway.scratch import use_own_folder
from gateway.speaker import Order, Speaker
from service.service import Service
from service.settings import Settings


class BulkSpeaker:
    """A Service in a worker's process; as many rows at once as its door has slots."""

    def __init__(self, settings: Settings):
        use_own_folder()
        self.service = Service(settings)
        self.speaker = Speaker(Door(self.service))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        """name [n], order [n] (pickled) -> name, audio (bytes), receipt (JSON), error (empty where there is none)."""
        orders = [pickle.loads(bytes(order)) for order in batch["order"]]
        with ThreadPoolExecutor(self.speaker.door.slots) as threads:
            spoken = list(threads.map(self.speak, orders))
        audio, receipts, errors = (list(column) for column in zip(*spoken, strict=True))
        return {"name": list(batch["name"]), "audio": audio, "receipt": receipts, "error": errors}

    def speak(self, order: Order) -> tuple[bytes, str, str]:
        """Audio, receipt, error of one row: what is wrong with it stays its own."""
        with tempfile.TemporaryDirectory(prefix="indextts-bulk-") as temporary:
            folder = Path(temporary)
            try:
                request = dataclasses.replace(self.speaker.request(order, folder), receipt=True)
                with zipfile.ZipFile(self.service.run(request, folder).path) as archive:
                    return (
                        archive.read(f"speech.{request.output_format}"),
                        archive.read("speech.json").decode(),
                        "",
                    )
            except (ValueError, Problem) as e:
                return b"", "", " ".join(str(e).split())


def fingerprint(settings: Settings) -> str:
    """Of the model's weights, and how they are computed with: what the audio depends on beside the row. A worker finds
    out, so that the model is not loaded where the job is started from."""
    import ray

    @ray.remote
    def find() -> str:
        model = Service(settings).model
        return f"{model.fingerprint}/{model.precision}"

    return ray.get(find.remote())
