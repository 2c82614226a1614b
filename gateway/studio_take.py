"""A take of the studio: asked for, followed while it is made, and shown."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
import soundfile

from gateway.studio_client import Server
from gateway.studio_form import TAKES

# Stages of the service in plain words: while they last, and what they took. Others are not told.
DOING = {
    "adapter": "putting the adapter beside the model",
    "text": "reading the text",
    "voice": "listening to the voice",
    "emotion": "finding the emotion",
    "gpt": "choosing speech tokens",
    "s2mel": "making the sound",
    "vocoder": "making the wave",
}
DONE = {"gpt": "tokens", "s2mel": "sound", "vocoder": "wave"}
STEPS = {"gpt": ", {step} so far", "s2mel": ", step {step} of {of}"}


@dataclass(frozen=True)
class Take:
    """sound, files: where they lie; receipt: what it says; seconds: until it was there."""

    sound: Path
    files: list[Path]
    receipt: dict
    seconds: float


def make(server: Server, body: dict[str, object]) -> Iterator[str | Take]:
    """How far it is, in plain words, and at last the take. Raises gr.Error."""
    start, content = time.perf_counter(), bytearray()
    yield "Waiting for the server …"
    for event in server.speak(body):
        if event["type"] == "speech.audio.delta":
            content += base64.b64decode(event["audio"])
        elif event["type"] == "speech.progress" and event["stage"] in DOING:
            yield plain_progress(event, time.perf_counter() - start)
    folder = Path(tempfile.mkdtemp(prefix="take-"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
    made = {path.suffix: path for path in folder.iterdir()}
    receipt = json.loads(made[".json"].read_text())
    sound = made[f".{body['response_format']}"]
    yield Take(sound, sorted(made.values()), receipt, time.perf_counter() - start)


def shown(take: Take, before: list[tuple[str, int]]) -> tuple:
    """What the page shows of it: status, player, picture, files, the takes there are, and their players. The files of
    a take that is shown no more are removed."""
    samples, rate = soundfile.read(take.sound, dtype="float32")
    after = [(str(take.sound), take.receipt["seed"]), *before]
    for path, _ in after[TAKES:]:
        shutil.rmtree(Path(path).parent, ignore_errors=True)
    after = after[:TAKES]
    players = [gr.update(value=path, label=f"seed {used}", visible=True) for path, used in after]
    players += [gr.update(visible=False)] * (TAKES - len(after))
    picture = gr.update(value=spectrogram(samples, rate), visible=True)
    files = gr.update(value=[str(path) for path in take.files], visible=True)
    return (plain_receipt(take.receipt, take.seconds), str(take.sound), picture, files, after, *players)


def plain_progress(event: dict, seconds: float) -> str:
    stage = event["stage"]
    words = DOING[stage] + (STEPS[stage].format(**event) if stage in STEPS and event["step"] else "")
    count = f", segment {event['begun']} of {event['segments']}" if event["segments"] > 1 else ""
    return f"{words[0].upper()}{words[1:]}{count} · {seconds:.0f} s"


def spectrogram(samples: np.ndarray, rate: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots()
    noise = 1e-9 * np.random.default_rng(0).standard_normal(len(samples))  # the logarithm of silence
    axes.specgram(samples + noise, NFFT=512, Fs=rate, noverlap=384)
    axes.set(ylabel="Hz", xlabel="seconds", ylim=(0, 8000))
    return figure


def plain_receipt(receipt: dict, seconds: float) -> str:
    stages = ", ".join(
        f"{DONE.get(stage, stage)} {value:.1f} s"
        for stage, value in receipt["timings"].items()
        if value >= 0.05
    )
    lines = [
        f"**{receipt['audio_seconds']:.1f} s** of audio in {seconds:.1f} s · seed **{receipt['seed']}** · {stages}"
    ]
    return "\n\n".join([*lines, *(f"⚠ {warning}" for warning in receipt["warnings"])])
