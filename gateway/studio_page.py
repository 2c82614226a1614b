"""The studio's page: what its parts do."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from gateway.studio_client import Server
from gateway.studio_form import (
    OWN_CLIP,
    TAKES,
    advanced_inputs,
    body_of,
    emotion_inputs,
    outcome,
    own_voice,
    words,
)
from gateway.studio_take import Take, make, shown
from gateway.studio_text import plain_report, reading_of

KEPT_SECONDS = (
    24 * 3600
)  # files that the page was given: how often those are looked for that are older than so much
CSS = "footer {display: none !important} .gradio-container {max-width: 1100px !important; margin: auto !important}"


class Library:
    """The voices that the page offers."""

    def __init__(self, server: Server):
        self.server = server

    def names(self) -> list[str]:
        return [record["id"] for record in self.server.voices()] + [OWN_CLIP]

    def fill(self):
        found = self.names()
        return gr.update(choices=found, value="speaker" if "speaker" in found else found[0])

    def keep(self, path: str | None, adapter: str | None, *form: str):
        if path is None:
            raise gr.Error("There is no clip yet.", duration=None, print_exception=False)
        texts = dict(zip(("name", "language", "notes", "consent"), form, strict=True))
        record = self.server.add(path, adapter, **texts)
        gr.Info(f"{record['id']} is in the library.")
        return gr.update(choices=self.names(), value=record["id"])

    def drop(self, chosen: str):
        self.server.delete(chosen)
        return self.fill()


def make_page(server: Server) -> gr.Blocks:
    """The page of one server."""
    library = Library(server)
    with gr.Blocks(
        title="IndexTTS2 studio", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    ) as page:
        gr.Markdown("# IndexTTS2 studio")
        takes = gr.State([])
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300):
                voice = gr.Dropdown(label="Voice", choices=[], elem_id="voice")
                own = own_voice()
                inputs = {**emotion_inputs(), **advanced_inputs()}
            with gr.Column(scale=2, min_width=300):
                said, made = words(), outcome()

        def speak(text, voice, clip, seed, before, *rest) -> Iterator[tuple]:
            body = body_of(text, voice, clip, seed, dict(zip(inputs, rest, strict=True)))
            skip = gr.skip()
            for told in make(server, body):
                if isinstance(told, Take):
                    yield shown(told, before)
                else:
                    yield (told, skip, skip, skip, before, *[skip] * TAKES)

        wanted = [said.text, voice, own.clip, said.seed, takes, *inputs.values()]
        shows = [made.status, made.audio, made.picture, made.files, takes, *made.players]
        said.go.click(speak, wanted, shows, concurrency_limit=4, show_progress="hidden")
        read = {"fn": reading_of, "inputs": [said.text, inputs["glossary"]], "outputs": said.reading}
        said.text.change(**read, show_progress="hidden", trigger_mode="always_last")
        page.load(**read)
        page.load(library.fill, outputs=voice)
        own.clip.change(lambda path: plain_report(path) if path else "", own.clip, own.report)
        own.clip.change(lambda path: OWN_CLIP if path else gr.skip(), own.clip, voice)
        form = [own.clip, own.adapter, own.name, own.language, own.notes, own.consent]
        own.keep.click(library.keep, form, voice)
        own.drop.click(library.drop, voice, voice)
    return page
