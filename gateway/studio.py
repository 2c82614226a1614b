"""`script/studio`: a page to try voices and texts on, before any running gateway.

script/studio                                # starts a gateway of its own on the small voice
script/studio --server http://host:8000      # uses one that runs; INDEXTTS_STUDIO_KEY holds its key
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import soundfile

from gateway.studio_client import Server, started
from gateway.studio_text import plain_report, reading_of
from service.fields import Choice, Number, checks_of, from_text
from service.request import Request

logger = logging.getLogger(__name__)

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
ADVANCED = (
    "temperature", "top_p", "top_k", "num_beams", "repetition_penalty", "length_penalty", "max_mel_tokens",
    "diffusion_steps", "cfg_rate", "segment_tokens", "segment_silence_ms", "loudness",
)  # fmt: skip
TAKES = 4
OWN_CLIP = "(the clip above)"
CSS = "footer {display: none !important} .gradio-container {max-width: 1100px !important; margin: auto !important}"
FORMATS = ("wav", "flac", "mp3", "opus")


def body_of(text: str, voice: str, clip: str | None, seed: str, values: dict[str, object]) -> dict:
    """What the page asks for: a ZIP file of audio, receipt and subtitles."""
    if not text.strip():
        raise gr.Error("There is no text yet.", duration=None, print_exception=False)
    body: dict[str, object] = {"model": "tts-1", "input": text, "receipt": True, "subtitles": "srt"}
    if voice == OWN_CLIP:
        if clip is None:
            raise gr.Error("Choose a voice, or give a clip.", duration=None, print_exception=False)
        body["speaker"] = "data:audio/wav;base64," + base64.b64encode(Path(clip).read_bytes()).decode()
    else:
        body["voice"] = voice
    try:
        # Empty fields are texts: a number field of Gradio's makes 0 of nothing.
        for name in ("seed", "duration", *ADVANCED):
            if written := str(values.pop(name, "") if name != "seed" else seed).strip():
                body[name] = from_text(Request, name, written)
    except ValueError as e:
        raise gr.Error(str(e), duration=None, print_exception=False) from e
    weights = {name: values.pop(name) for name in EMOTIONS}
    if any(weights.values()):
        body["emotion_vector"] = ", ".join(f"{name}={value:g}" for name, value in weights.items() if value)
    return body | {name: value for name, value in values.items() if value not in (None, "")}


def spectrogram(samples: np.ndarray, rate: int):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.2), layout="constrained")
    axes = figure.subplots()
    noise = 1e-9 * np.random.default_rng(0).standard_normal(len(samples))  # the logarithm of silence
    axes.specgram(samples + noise, NFFT=512, Fs=rate, noverlap=384)
    axes.set(ylabel="Hz", xlabel="seconds", ylim=(0, 8000))
    return figure


def make_page(server: Server) -> gr.Blocks:
    """The page of one server."""
    numbers = checks_of(Request, Number)
    with gr.Blocks(title="IndexTTS2 studio", analytics_enabled=False) as page:
        gr.Markdown("# IndexTTS2 studio")
        takes = gr.State([])
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                voice = gr.Dropdown(label="Voice", choices=[], elem_id="voice")
                with gr.Accordion("A voice of your own", open=False):
                    clip = gr.Audio(
                        label="5 to 15 s of clean speech", type="filepath", sources=["upload", "microphone"]
                    )
                    report = gr.Markdown()
                    name = gr.Textbox(label="Name", max_length=64)
                    language = gr.Textbox(label="Language", max_length=20)
                    notes = gr.Textbox(label="Notes", max_length=2000)
                    consent = gr.Textbox(
                        label="Consent: who has agreed that this voice is used?", max_length=2000
                    )
                    with gr.Row():
                        keep = gr.Button("Keep in the library")
                        drop = gr.Button("Delete from the library", variant="stop")
                with gr.Accordion("Emotion", open=False):
                    sliders = {word: gr.Slider(0, 1, 0, step=0.05, label=word) for word in EMOTIONS}
                    alpha = gr.Slider(0, 1, 1, step=0.05, label="strength")
                with gr.Accordion("Advanced", open=False):
                    speed = gr.Slider(0.5, 2, 1, step=0.05, label="speed")
                    duration = gr.Textbox(label="duration", placeholder="seconds; as it comes", max_length=20)
                    format = gr.Dropdown(FORMATS, value="wav", label="format")
                    fields = {
                        word: gr.Textbox(
                            label=word,
                            placeholder=f"empty: its own; {numbers[word].low:g} to {numbers[word].high:g}",
                            max_length=20,
                        )
                        for word in ADVANCED
                    }
                    flags = {word: gr.Checkbox(word == "trim", label=word) for word in ("denoise", "trim")}
                    window = gr.Dropdown(
                        checks_of(Request, Choice)["reference_window"].values,
                        value="best",
                        label="reference_window",
                    )
                    glossary = gr.Textbox(label="glossary: term=reading, one a line", lines=2)
            with gr.Column(scale=2, min_width=300):
                text = gr.Textbox(
                    "Hello there. Good to hear you.", label="Text", lines=5, max_length=20_000, elem_id="text",
                    info="[pause:1.5s] waits, a blank line is a longer pause, [voice:NAME] changes the speaker",
                )  # fmt: skip
                with gr.Accordion("How it is read", open=False):
                    reading = gr.Dataframe(
                        headers=["segment", "voice", "as it is spoken"], interactive=False, wrap=True
                    )
                with gr.Row():
                    seed = gr.Textbox(label="Seed", placeholder="another one each time", max_length=20)
                    go = gr.Button("Speak", variant="primary", elem_id="speak")
                status = gr.Markdown(elem_id="status")
                audio = gr.Audio(label="Take", type="filepath", interactive=False, elem_id="take")
                picture = gr.Plot(label="Spectrogram", visible=False)
                files = gr.Files(label="Audio, subtitles, receipt", elem_id="files", visible=False)
                gr.Markdown("### Takes")
                with gr.Row():
                    players = [
                        gr.Audio(visible=False, interactive=False, type="filepath", min_width=280)
                        for _ in range(TAKES)
                    ]

        def names() -> list[str]:
            return [record["id"] for record in server.voices()] + [OWN_CLIP]

        def fill():
            found = names()
            return gr.update(choices=found, value="speaker" if "speaker" in found else found[0])

        inputs = {"speed": speed, "duration": duration, "response_format": format, "emotion_alpha": alpha}
        inputs |= {**sliders, **fields, **flags, "reference_window": window, "glossary": glossary}

        def speak(*given) -> Iterator[tuple]:
            words, chosen, own, number, before, *rest = given
            body = body_of(words, chosen, own, number, dict(zip(inputs, rest, strict=True)))
            body["quick_start_tokens"] = 0
            skip = gr.skip()
            yield ("Waiting for the server …", skip, skip, skip, before, *[skip] * TAKES)
            start = time.perf_counter()
            answer = server.speak(body)
            folder = Path(tempfile.mkdtemp(prefix="indextts-studio-"))
            with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
                archive.extractall(folder)
            made = {path.suffix: path for path in folder.iterdir()}
            sound = made[f".{body['response_format']}"]
            receipt = json.loads(made[".json"].read_text())
            samples, rate = soundfile.read(sound, dtype="float32")
            after = [(str(sound), receipt["seed"]), *before][:TAKES]
            shown = [gr.update(value=path, label=f"seed {used}", visible=True) for path, used in after] + [
                gr.update(visible=False)
            ] * (TAKES - len(after))
            yield (
                plain_receipt(receipt, time.perf_counter() - start), str(sound),
                gr.update(value=spectrogram(samples, rate), visible=True),
                gr.update(value=[str(path) for path in sorted(made.values())], visible=True), after, *shown,
            )  # fmt: skip

        def look(path: str | None):
            return plain_report(path) if path else ""

        def keep_voice(path: str | None, *form: str):
            if path is None:
                raise gr.Error("There is no clip yet.", duration=None, print_exception=False)
            record = server.add(
                path, **dict(zip(("name", "language", "notes", "consent"), form, strict=True))
            )
            gr.Info(f"{record['id']} is in the library.")
            return gr.update(choices=names(), value=record["id"])

        def drop_voice(chosen: str):
            server.delete(chosen)
            return fill()

        page.load(fill, outputs=voice)
        wanted = [text, voice, clip, seed, takes, *inputs.values()]
        go.click(speak, wanted, [status, audio, picture, files, takes, *players], concurrency_limit=4)
        text.change(reading_of, [text, glossary], reading, show_progress="hidden", trigger_mode="always_last")
        page.load(reading_of, [text, glossary], reading)
        clip.change(look, clip, report)
        clip.change(lambda path: OWN_CLIP if path else gr.skip(), clip, voice)
        keep.click(keep_voice, [clip, name, language, notes, consent], voice)
        drop.click(drop_voice, voice, voice)
    return page


def plain_receipt(receipt: dict, seconds: float) -> str:
    stages = ", ".join(
        f"{stage} {value:.1f} s" for stage, value in receipt["timings"].items() if value >= 0.05
    )
    lines = [
        f"**{receipt['audio_seconds']:.1f} s** of audio in {seconds:.1f} s · seed **{receipt['seed']}** · {stages}"
    ]
    return "\n\n".join([*lines, *(f"⚠ {warning}" for warning in receipt["warnings"])])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/studio", description=__doc__.splitlines()[0])
    parser.add_argument("--server", help="URL of a running gateway; without it one is started")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--model", help="of a gateway that is started")
    options = parser.parse_args(arguments)
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    known = (
        Server(options.server.rstrip("/"), os.environ.get("INDEXTTS_STUDIO_KEY", ""))
        if options.server
        else None
    )
    try:
        with contextlib.nullcontext(known) if known else started(options.model) as server:
            make_page(server).launch(
                server_name=options.host, server_port=options.port, css=CSS, footer_links=[], quiet=True
            )
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
