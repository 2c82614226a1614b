"""What only a process of its own can show: memory, the first streamed audio, a cold command.

python -m checks.bench_whole MODEL PRECISION     one process's figures, as JSON
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from checks.busy import busy_cores
from pipeline.audio import write_wav
from pipeline.deterministic import tone
from service.request import Request
from service.service import Service
from service.settings import Settings
from service.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = "Please leave your umbrella by the door, and tell the others that dinner will be late tonight."
MAX_CODES = 60  # of a model with made-up weights, which never stops by itself


def figures(model: str) -> dict[str, float]:
    """Of this process: loading, the first streamed segment and chunk and a whole sentence, warm; memory at its peak."""
    start = time.perf_counter()
    service, workspace = Service(Settings.read(model=model)), Workspace()
    service.warm_up()
    found = {"ready s": time.perf_counter() - start}
    with tempfile.TemporaryDirectory(prefix="indextts-bench-") as folder:
        speaker = Path(folder) / "speaker.wav"
        if model in ("tiny-en",):
            speaker = ROOT / "examples/speaker.wav"
            request = Request(SENTENCE, speaker, seed=1, quick_start_tokens=60)
        else:
            write_wav(speaker, tone("bench", 5.0, 24000)[0], 24000)
            request = Request(SENTENCE, speaker, seed=1, max_mel_tokens=MAX_CODES, diffusion_steps=2)
        service.references.speaker(speaker, request.reference_options())
        start = time.perf_counter()
        for index, _ in enumerate(service.stream(request, workspace.renew())):
            if index == 0:
                found["first audio s"] = time.perf_counter() - start
        start = time.perf_counter()
        for index, _ in enumerate(service.stream(request, workspace.renew(), "chunks")):
            if index == 0:
                found["first audio in chunks s"] = time.perf_counter() - start
        start = time.perf_counter()
        metrics = service.run(request, workspace.renew()).metrics
        found["sentence s"] = time.perf_counter() - start
        found["real-time factor"] = float(str(metrics["real_time_factor"]))
        with busy_cores():
            metrics = service.run(request, workspace.renew()).metrics
        found["real-time factor, all cores busy"] = float(str(metrics["real_time_factor"]))
    found["peak memory MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def launched(command: list[str], precision: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"INDEXTTS_PRECISION": precision, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)


def process_figures(model: str, precision: str) -> dict[str, float]:
    """`figures` of a process of its own, started as the launchers start one."""
    script = f'. script/lib/threads.sh; exec "{sys.executable}" -m checks.bench_whole "{model}" {precision}'
    return json.loads(launched(["bash", "-c", script], precision).stdout.splitlines()[-1])


def cold_command(precision: str) -> float:
    """Seconds of `script/predict` for one sentence of five seconds with the embedded voice."""
    with tempfile.TemporaryDirectory(prefix="indextts-bench-") as folder:
        command = [
            "script/predict",
            "-i",
            f"text={SENTENCE}",
            "-i",
            "speaker=@examples/speaker.wav",
            "-i",
            "seed=1",
        ]
        start = time.perf_counter()
        launched([*command, "-o", f"{folder}/out.wav"], precision)
        return time.perf_counter() - start


if __name__ == "__main__":
    with torch.inference_mode():
        print(json.dumps(figures(sys.argv[1])))
