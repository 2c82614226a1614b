"""Clips to what training reads of them: computed once, one file a clip, memory-mapped.

Axes: n codes, C mel channels, F frames, S style, L speaker latents, D GPT width.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import soundfile
import torch
from torch import Tensor

from finetune.clips import Clip, Refusal
from pipeline.model import Model
from pipeline.text.script import prepare_script
from pipeline.voice import make_voice
from service.service import Service

logger = logging.getLogger(__name__)

FEATURES = "features"
REPORT_EVERY = 50


@dataclass(frozen=True)
class Example:
    """One clip: text ids [t] or None, and its tensors: codes [n], mel [C, F], style [S], speaker_latents [L, D],
    emotion_vector [D], and once the GPT is there latents [n, D]."""

    clip: Clip
    ids: Tensor | None
    tensors: Mapping[str, Tensor]

    @property
    def seconds(self) -> float:
        return self.clip.seconds


def extract(
    service: Service, clips: Sequence[Clip], folder: Path, language: str
) -> tuple[list[Example], list[Refusal]]:
    """The examples of all clips, and what of their texts cannot be used and why."""
    (folder / FEATURES).mkdir(exist_ok=True)
    examples, refusals = [], []
    for number, clip in enumerate(clips, 1):
        path = feature_path(folder, clip)
        if not path.exists():
            write(path, clip_features(service.model, folder / clip.file))
        tensors = safetensors.torch.load_file(path)
        ids: Tensor | None = None
        if clip.text is not None:
            try:
                ids = text_ids(service, clip, language)
            except ValueError as e:
                refusals.append(Refusal(clip.source, f"its text is not used: {e}"))
        examples.append(Example(clip, ids, tensors))
        if number % REPORT_EVERY == 0 or number == len(clips):
            logger.info("features of %d of %d clips", number, len(clips))
    return examples, refusals


def feature_path(folder: Path, clip: Clip) -> Path:
    return folder / FEATURES / (Path(clip.file).stem + ".safetensors")


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """All of the file or nothing."""
    partial = path.with_suffix(".part")
    safetensors.torch.save_file({key: value.cpu().contiguous() for key, value in tensors.items()}, partial)
    os.replace(partial, path)


def clip_features(model: Model, path: Path) -> dict[str, Tensor]:
    samples, rate = soundfile.read(path, dtype="float32")
    voice = make_voice(model, torch.from_numpy(samples)[None], rate)
    return {
        "codes": voice.prompt_codes[0].to(torch.int32),
        "mel": voice.reference_mel[0].half(),
        "style": voice.style[0].float(),
        "speaker_latents": voice.speaker_latents[0].float(),
        "emotion_vector": voice.emotion_vector[0].float(),
    }


def text_ids(service: Service, clip: Clip, language: str) -> Tensor:
    """The tokens of a clip's text as the service would speak it. Raises ValueError for a text that the model cannot
    take in one go or that does not fit the clip's length."""
    config = service.model.config
    script = prepare_script(
        clip.text,
        service.normalizer(),
        service.tokenizer,
        language=service.language(language),
        max_segment_tokens=config.gpt.max_text_tokens,
    )
    ids = [token for part in script if hasattr(part, "token_ids") for token in part.token_ids]
    if len(ids) > config.gpt.max_text_tokens:
        raise ValueError(f"it has {len(ids)} tokens; the model takes {config.gpt.max_text_tokens}")
    pace = clip.seconds / max(len(ids), 1)
    low, high = config.pace.min_seconds_per_token, config.pace.max_seconds_per_token
    slack = 1.5 / max(len(ids), 1)  # a single word may be drawn out
    if not low <= pace <= high + slack:
        raise ValueError(
            f"{len(ids)} tokens in {clip.seconds:.1f} s is {pace:.2f} s a token, where {low:g} to {high:g} is "
            "speech; is it the text of this clip?"
        )
    return torch.tensor(ids)
