"""Pictures of what a model does, as PNG: log-mels side by side, and which text the GPT attends to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from pipeline.audio import log_mel, resample
from pipeline.config import AudioConfig
from pipeline.gpt.model import UnifiedVoice
from pipeline.synthesize import Delivery
from pipeline.text.normalize import TextNormalizer
from pipeline.text.script import prepare_script
from service.request import Request
from service.service import Service

matplotlib.use("Agg")
from matplotlib import pyplot

PANEL_INCHES = (6.0, 2.4)
HEADS_SHOWN = 4


def draw_spectrograms(config: AudioConfig, waves: Sequence[tuple[str, np.ndarray, int]], path: Path) -> None:
    """Log-mels of (title, wave [T], rate) in two columns."""
    rows = -(-len(waves) // 2)
    figure, panels = pyplot.subplots(
        rows, 2, squeeze=False, figsize=(2 * PANEL_INCHES[0], rows * PANEL_INCHES[1]), layout="constrained"
    )
    for panel, (title, wave, rate) in zip(panels.flat[: len(waves)], waves, strict=True):
        mel = log_mel(resample(torch.from_numpy(wave)[None], rate, config.sample_rate), config)[0]
        panel.imshow(mel.numpy(), origin="lower", aspect="auto")
        panel.set(xticks=[], yticks=[])
        panel.set_title(title, fontsize="small")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


@torch.inference_mode()
def attention_to_text(gpt: UnifiedVoice, prompt: Tensor, codes: Tensor) -> Tensor:
    """How much each code attends to each token: [layers · H, n, tokens], of a prompt [1, P, D] and codes [n];
    as all heads would without monotonic attention."""
    queries_keys_values: list[Tensor] = []
    hooks = [
        block.attn.c_attn.register_forward_hook(
            lambda module, inputs, output: queries_keys_values.append(output)
        )
        for block in gpt.gpt.h
    ]
    try:
        fed = torch.nn.functional.pad(codes[:-1], (1, 0), value=gpt.config.start_mel_token)
        positions = torch.arange(len(fed), device=fed.device)
        gpt.latents(torch.cat([prompt, gpt.mel_inputs(fed, positions)[None].to(prompt.dtype)], dim=1))
    finally:
        for hook in hooks:
            hook.remove()
    rows = gpt.text_rows(prompt.shape[1])
    maps = []
    for block, output in zip(gpt.gpt.h, queries_keys_values, strict=True):
        q, k, _ = (part[0].float() for part in block.attn.split(output))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        maps.append(
            scores.masked_fill(future, -torch.inf).softmax(-1)[:, prompt.shape[1] :, rows.start : rows.stop]
        )
    return torch.cat(maps).cpu()


def draw_alignment(service: Service, text: str, reference: Path, path: Path) -> None:
    """The heads that attend most sharply to the text of one sentence: codes to the right, tokens upwards."""
    request = Request(text, reference, seed=0).checked()
    part = prepare_script(text, TextNormalizer(), service.tokenizer)[0]
    voice = service.references.speaker(reference, request.reference_options()).voice
    options = request.synthesis(service.model.config.synthesis)
    gpt = service.model.gpt
    with torch.inference_mode():
        delivery = Delivery(voice, voice.emotion_vector, options)
        decoded = service.synthesizer.codes(part, delivery, torch.Generator().manual_seed(0))
        prompt = service.synthesizer.prompt(part, delivery)
    maps = attention_to_text(gpt, prompt, decoded.codes)
    sharpest = maps.amax(-1).mean(-1).argsort(descending=True)[:HEADS_SHOWN]
    figure, panels = pyplot.subplots(
        HEADS_SHOWN // 2,
        2,
        squeeze=False,
        layout="constrained",
        figsize=(2 * PANEL_INCHES[0], HEADS_SHOWN // 2 * 2 * PANEL_INCHES[1]),
    )
    for panel, index in zip(panels.flat[: len(sharpest)], sharpest.tolist(), strict=True):
        panel.imshow(maps[index].T.numpy(), origin="lower", aspect="auto", interpolation="nearest")
        panel.set(
            title=f"layer {index // gpt.config.heads}, head {index % gpt.config.heads}",
            xlabel="code",
            ylabel="token",
        )
    figure.suptitle(part.text, fontsize="small")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
