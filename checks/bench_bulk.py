"""What bulk synthesis loses against the engine alone: `script/bench --bulk`.

The same rows, on one thread each time: given to an engine in this process, a few more than it speaks
together; and through Ray Data as `script/batch` does it, from the first rows that are back to the last.
Interleaved, so that both see the same machine; rates are audio seconds a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checks.chaos import TEXTS, VOICES
from gateway.batch import made, start
from gateway.settings import GatewaySettings
from gateway.table import Reader, Row
from gateway.voices import Library
from service.request import Request
from service.service import Service

ROOT = Path(__file__).resolve().parent.parent
QUICK = {"max_mel_tokens": 60, "diffusion_steps": 4, "num_beams": 1}
AHEAD = 2  # requests in the engine's hands, of those it speaks together


def directly(service: Service, rows: Sequence[Row]) -> float:
    rate = service.model.config.audio.sample_rate
    files = {path.stem: path for path in (ROOT / "examples").glob("*.*")}

    def speak(row: Row) -> float:
        request = Request(**row.order.inputs, speaker=files[row.order.speaker.name])
        return sum(len(part.chunk.wave) for part in service.engine.submit(request)) / rate

    begun = time.perf_counter()
    with ThreadPoolExecutor(AHEAD * service.settings.segment_batch) as threads:
        seconds = sum(threads.map(speak, rows))
    return seconds / (time.perf_counter() - begun)


def in_bulk(rows: Sequence[Row], settings, resources: dict[str, float]) -> float:
    """From the first to the last result: what the start of Ray and of the model takes is not counted."""
    arrived: list[tuple[float, float]] = []
    for item in made(rows, settings, 1, resources):
        if item["error"]:
            raise ValueError(item["error"])
        arrived.append((time.perf_counter(), json.loads(item["receipt"])["audio_seconds"]))
    first, last = arrived[0][0], arrived[-1][0]
    together = [seconds for when, seconds in arrived if when - first > 0.05 * (last - first)]
    return sum(together) / (last - first)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/bench --bulk", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny-en")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    options.speakers = 1
    gateway = GatewaySettings.read({})
    resources, settings = start(options, gateway)
    service = Service(settings)
    service.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Library(folder), Path(folder), "bench", QUICK)
        rows = [
            reader.row(n, {"text": TEXTS[n % len(TEXTS)], "voice": VOICES[n % len(VOICES)], "seed": n})
            for n in range(options.rows)
        ]
    directly(service, rows[: len(rows) // 4])
    rates = [(directly(service, rows), in_bulk(rows, settings, resources)) for _ in range(options.rounds)]
    alone, bulk = (statistics.median(side) for side in zip(*rates, strict=True))
    print(
        json.dumps(
            {
                "model": options.model,
                "rows": options.rows,
                "engine": round(alone, 2),
                "bulk": round(bulk, 2),
                "share": round(bulk / alone, 3),
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
