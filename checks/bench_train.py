"""A step of fine-tuning: seconds and memory of GPT and flow with LoRA, on random clips of a given length."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import numpy as np
import torch

from finetune.clips import Clip
from finetune.features import Example
from finetune.losses import FlowLosses, GPTLosses, Losses
from finetune.trainable import Trained, save_memory
from pipeline.config import ModelConfig
from pipeline.model import load_model
from service.catalog import Source

CLIP_SECONDS, CLIPS = 10.0, 2  # a pass is of 20 s
CODES_PER_SECOND = 50
TOKENS_PER_SECOND = 8
MEGABYTE = 2**20


def training_table(source: Source, runs: int) -> list[str]:
    """Markdown: seconds a pass and megabytes at the peak, of each part."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(source.directory, source.config, device, "exact", packed=False)
    examples = random_examples(source.config)
    lines = [
        f"| LoRA, a pass of {CLIPS * CLIP_SECONDS:g} s | seconds | peak MB | parameters trained |",
        "|---|---|---|---|",
    ]
    for part, kind in (("gpt", GPTLosses), ("dit", FlowLosses)):
        trained = Trained(model, "lora", [part], 0)
        save_memory(trained)
        seconds = min(step_seconds(trained, kind(trained.model, examples), runs, device))
        count = sum(value.numel() for value in trained.parameters())
        lines.append(f"| {part} | {seconds:.2f} | {peak_bytes(device) / MEGABYTE:.0f} | {count:,} |")
    return lines


def random_examples(config: ModelConfig) -> list[Example]:
    generator = torch.Generator().manual_seed(0)
    codes = min(int(CODES_PER_SECOND * CLIP_SECONDS), config.gpt.max_mel_tokens)
    frames = int(config.s2mel.regulator.frames_per_code * codes)
    tokens = min(int(TOKENS_PER_SECOND * CLIP_SECONDS), config.gpt.max_text_tokens)
    gpt = config.gpt

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        Example(
            Clip("", str(index), CLIP_SECONDS, ""),
            torch.randint(2, gpt.number_text_tokens, (tokens,), generator=generator),
            {
                "codes": torch.randint(config.codec.codebook_size, (codes,), generator=generator),
                "mel": draw(config.audio.n_mels, frames),
                "style": draw(config.speaker.style_dim),
                "speaker_latents": draw(gpt.speaker.perceiver_latents, gpt.model_dim),
                "emotion_vector": draw(gpt.model_dim),
            },
        )
        for index in range(CLIPS)
    ]


def step_seconds(trained: Trained, losses: Losses, runs: int, device: torch.device) -> Iterator[float]:
    optimizer = torch.optim.AdamW(trained.parameters())
    for run in range(runs):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = losses(np.random.default_rng(run))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - start


def peak_bytes(device: torch.device) -> int:
    """Of the device's memory; on a CPU of this process, so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
