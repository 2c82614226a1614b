"""What is on the studio's page: its parts, and the request that they stand for."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component

from service.fields import Choice, Number, checks_of, from_text
from service.request import Request

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
ADVANCED = (
    "temperature", "top_p", "top_k", "num_beams", "repetition_penalty", "length_penalty", "max_mel_tokens",
    "diffusion_steps", "cfg_rate", "segment_tokens", "segment_silence_ms", "loudness",
)  # fmt: skip
FORMATS = ("wav", "flac", "mp3", "opus")
TAKES = 4
OWN_CLIP = "(the clip above)"


@dataclass(frozen=True)
class OwnVoice:
    """A clip of one's own, and what makes it a voice of the library."""

    clip: gr.Audio
    report: gr.Markdown
    name: gr.Textbox
    language: gr.Textbox
    notes: gr.Textbox
    consent: gr.Textbox
    adapter: gr.File
    keep: gr.Button
    drop: gr.Button


@dataclass(frozen=True)
class Words:
    """The text, how it is read, and the button that has it spoken."""

    text: gr.Textbox
    reading: gr.Dataframe
    seed: gr.Textbox
    go: gr.Button


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    status: gr.Markdown
    audio: gr.Audio
    picture: gr.Plot
    files: gr.Files
    players: list[gr.Audio]


def own_voice() -> OwnVoice:
    with gr.Accordion("A voice of your own", open=False):
        clip = gr.Audio(label="5 to 15 s of clean speech", type="filepath", sources=["upload", "microphone"])
        report = gr.Markdown()
        name = gr.Textbox(label="Name", max_length=64)
        language = gr.Textbox(label="Language", max_length=20)
        notes = gr.Textbox(label="Notes", max_length=2000)
        consent = gr.Textbox(label="Consent: who has agreed that this voice is used?", max_length=2000)
        adapter = gr.File(label="Adapter of a training, if it has one", type="filepath", height=90)
        with gr.Row():
            keep = gr.Button("Keep in the library")
            drop = gr.Button("Delete from the library", variant="stop")
    return OwnVoice(clip, report, name, language, notes, consent, adapter, keep, drop)


def emotion_inputs() -> dict[str, Component]:
    with gr.Accordion("Emotion", open=False):
        sliders = {word: gr.Slider(0, 1, 0, step=0.05, label=word) for word in EMOTIONS}
        return {"emotion_alpha": gr.Slider(0, 1, 1, step=0.05, label="strength"), **sliders}


def advanced_inputs() -> dict[str, Component]:
    numbers, choices = checks_of(Request, Number), checks_of(Request, Choice)
    with gr.Accordion("Advanced", open=False):
        inputs: dict[str, Component] = {
            "speed": gr.Slider(0.5, 2, 1, step=0.05, label="speed"),
            "duration": gr.Textbox(label="duration", placeholder="seconds; as it comes", max_length=20),
            "response_format": gr.Dropdown(FORMATS, value="wav", label="format"),
        }
        for word in ADVANCED:
            bounds = f"{numbers[word].low:g} to {numbers[word].high:g}"
            inputs[word] = gr.Textbox(label=word, placeholder=f"empty: its own; {bounds}", max_length=20)
        for word in ("denoise", "trim"):
            inputs[word] = gr.Checkbox(word == "trim", label=word)
        inputs["reference_window"] = gr.Dropdown(
            choices["reference_window"].values, value="best", label="reference_window"
        )
        inputs["glossary"] = gr.Textbox(label="glossary: term=reading, one a line", lines=2)
    return inputs


def words() -> Words:
    text = gr.Textbox(
        "Hello there. Good to hear you.", label="Text", lines=5, max_length=20_000, elem_id="text",
        info="[pause:1.5s] waits, a blank line is a longer pause, [voice:NAME] changes the speaker",
    )  # fmt: skip
    with gr.Accordion("How it is read", open=False):
        headers = ["segment", "voice", "as it is spoken"]
        reading = gr.Dataframe(headers=headers, interactive=False, wrap=True)
    with gr.Row():
        seed = gr.Textbox(label="Seed", placeholder="random", max_length=20)
        go = gr.Button("Speak", variant="primary", elem_id="speak")
    return Words(text, reading, seed, go)


def outcome() -> Outcome:
    status = gr.Markdown(elem_id="status")
    # Without the button that shares what one has made with another host.
    plain = {"type": "filepath", "interactive": False, "buttons": ["download"]}
    audio = gr.Audio(label="Take", elem_id="take", **plain)
    picture = gr.Plot(label="Spectrogram", visible=False)
    files = gr.Files(label="Audio, subtitles, receipt", elem_id="files", visible=False, interactive=False)
    gr.Markdown("### Takes")
    with gr.Row():
        players = [gr.Audio(visible=False, min_width=280, **plain) for _ in range(TAKES)]
    return Outcome(status, audio, picture, files, players)


def body_of(text: str, voice: str, clip: str | None, seed: str | None, values: dict[str, object]) -> dict:
    """What the page asks for: a ZIP file of audio, receipt and subtitles."""
    if not text.strip():
        raise gr.Error("There is no text yet.", duration=None, print_exception=False)
    body: dict[str, object] = {"model": "tts-1", "input": text, "receipt": True, "subtitles": "srt"}
    body |= {"quick_start_tokens": 0, "stream_format": "sse", "progress": True}
    if voice == OWN_CLIP:
        if clip is None:
            raise gr.Error("Choose a voice, or give a clip.", duration=None, print_exception=False)
        body["speaker"] = "data:audio/wav;base64," + base64.b64encode(Path(clip).read_bytes()).decode()
    else:
        body["voice"] = voice
    try:
        # Texts: a number field of Gradio's makes 0 of nothing. None: in a part of the page that was never opened.
        typed = {"seed": seed} | {name: values.pop(name) for name in ("duration", *ADVANCED)}
        for name, value in typed.items():
            if written := (value or "").strip():
                body[name] = from_text(Request, name, written)
    except ValueError as e:
        raise gr.Error(str(e), duration=None, print_exception=False) from e
    weights = {name: values.pop(name) for name in EMOTIONS}
    if any(weights.values()):
        body["emotion_vector"] = ", ".join(f"{name}={value:g}" for name, value in weights.items() if value)
    return body | {name: value for name, value in values.items() if value not in (None, "")}
