"""The Voice a reference clip becomes: everything the stages need of it, computed once.

Axes: L speaker latents, D GPT width, S style width, C mel channels, R reference mel frames.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.audio import kaldi_fbank, log_mel, resample
from pipeline.config import ModelConfig
from pipeline.model import Model, dtype_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voice:
    """speaker_latents [1, L, D]; style [1, S]; reference_mel [1, C, R]; prompt_codes [1, T50], the
    clip's semantic codes, where the condition is made of those; prompt_condition [1, R, content_dim], else made of the
    clip's features; emotion_vector [1, D], the clip's own; seconds of reference used."""

    speaker_latents: Tensor
    style: Tensor
    reference_mel: Tensor
    prompt_codes: Tensor | None
    prompt_condition: Tensor
    emotion_vector: Tensor
    seconds: float

    def tensors(self) -> dict[str, Tensor]:
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }

    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors().values())


def check_clip(samples: Tensor, rate: int, model: Model, what: str = "reference") -> Tensor:
    """The part of a clip [1, T] that is used: its first `max_seconds`.

    Raises ValueError when it is shorter than `min_seconds` or silent."""
    limits = model.config.reference
    seconds = samples.shape[-1] / rate
    if seconds < limits.min_seconds:
        raise ValueError(
            f"the {what} audio is {seconds:.2f} s long; at least {limits.min_seconds:g} s of speech "
            f"is needed, 5 to {limits.max_seconds:g} s is best"
        )
    if seconds > limits.max_seconds:
        logger.info(
            "%s audio is %.1f s long; only the first %g s are used", what, seconds, limits.max_seconds
        )
        samples = samples[:, : int(limits.max_seconds * rate)]
    peak = float(samples.abs().max())
    if peak < 10 ** (limits.silence_dbfs / 20):
        level = f"{20 * math.log10(peak):.0f} dBFS" if peak > 0 else "digital silence"
        raise ValueError(
            f"the {what} audio is silent (peak {level}); it must reach {limits.silence_dbfs:g} dBFS"
        )
    return samples


@torch.inference_mode()
def make_voice(model: Model, samples: Tensor, rate: int) -> Voice:
    """The Voice of a clip [1, T] at `rate` Hz. Raises ValueError when the clip is too short or silent."""
    samples = check_clip(samples, rate, model)
    config, device = model.config, model.device
    wave_16k = resample(samples, rate, config.reference.sample_rate).to(device)
    features = model.semantic(wave_16k)
    gpt_features = features.to(dtype_of(model.gpt))
    mel = log_mel(resample(samples, rate, config.audio.sample_rate).to(device), config.audio)
    style = model.speaker(kaldi_fbank(wave_16k, config.speaker.sample_rate, config.speaker.mel_bins))
    codes = model.codec.encode(features) if is_coded(model) else None
    content = features if codes is None else model.codec.decode(codes)
    return Voice(
        speaker_latents=model.gpt.speaker_latents(gpt_features, style.to(gpt_features.dtype)),
        style=style,
        reference_mel=mel,
        prompt_codes=codes,
        prompt_condition=model.regulator(content, mel.shape[-1]),
        emotion_vector=model.gpt.emotion_vector(gpt_features),
        seconds=samples.shape[-1] / rate,
    )


def prompt_frames(config: ModelConfig, voice: Voice) -> int:
    """How many frames of the voice's mel the flow continues."""
    frames, seconds = voice.reference_mel.shape[-1], config.s2mel.prompt_seconds
    if seconds is None:
        return frames
    return min(frames, round(seconds * config.audio.sample_rate / config.audio.hop_length))


def is_coded(model: Model) -> bool:
    """Whether the reference's part of the flow's condition is made of its codes, one a frame, or of its features."""
    return model.codec.stride == 1


@torch.inference_mode()
def make_emotion(model: Model, samples: Tensor, rate: int) -> Tensor:
    """Emotion vector [1, D] of a clip [1, T]: the part of `make_voice` an emotion reference needs."""
    samples = check_clip(samples, rate, model, "emotion reference")
    features = model.semantic(resample(samples, rate, model.config.reference.sample_rate).to(model.device))
    return model.gpt.emotion_vector(features.to(dtype_of(model.gpt)))
