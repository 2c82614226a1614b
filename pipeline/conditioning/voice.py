"""The Voice a reference clip becomes: everything the stages need of it, computed once.

Axes: L speaker latents, D GPT width, S style width, C mel channels, R reference mel frames.
"""
from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.audio import kaldi_fbank, log_mel, resample
from pipeline.model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voice:
    """speaker_latents [1, L, D]; style [1, S]; reference_mel [1, C, R]; prompt_codes [1, T50], the
    clip's semantic codes; prompt_condition [1, R, content_dim], made of them; emotion_vector [1, D],
    the clip's own; seconds of reference used."""
    speaker_latents: Tensor
    style: Tensor
    reference_mel: Tensor
    prompt_codes: Tensor
    prompt_condition: Tensor
    emotion_vector: Tensor
    seconds: float

    def tensors(self) -> dict[str, Tensor]:
        return {field.name: value for field in dataclasses.fields(self)
                if isinstance(value := getattr(self, field.name), Tensor)}

    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors().values())


def check_clip(samples: Tensor, rate: int, model: Model, what: str = "reference") -> Tensor:
    """The part of a clip [1, T] that is used: its first `max_seconds`.

    Raises ValueError when it is shorter than `min_seconds` or silent."""
    limits = model.config.reference
    seconds = samples.shape[-1] / rate
    if seconds < limits.min_seconds:
        raise ValueError(f"the {what} audio is {seconds:.2f} s long; at least {limits.min_seconds:g} s of speech "
                         f"is needed, 5 to {limits.max_seconds:g} s is best")
    if seconds > limits.max_seconds:
        logger.info("%s audio is %.1f s long; only the first %g s are used", what, seconds, limits.max_seconds)
        samples = samples[:, :int(limits.max_seconds * rate)]
    peak = float(samples.abs().max())
    if peak < 10 ** (limits.silence_dbfs / 20):
        level = f"{20 * math.log10(peak):.0f} dBFS" if peak > 0 else "digital silence"
        raise ValueError(f"the {what} audio is silent (peak {level}); it must reach {limits.silence_dbfs:g} dBFS")
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
    codes = model.codec.encode(features)
    bank = kaldi_fbank(wave_16k, config.speaker.sample_rate, config.speaker.mel_bins)
    return Voice(
        speaker_latents=model.gpt.speaker_latents(gpt_features), style=model.speaker(bank), reference_mel=mel,
        prompt_codes=codes, prompt_condition=prompt_condition(model, codes, mel.shape[-1]),
        emotion_vector=model.gpt.emotion_vector(gpt_features), seconds=samples.shape[-1] / rate)


@torch.inference_mode()
def prompt_condition(model: Model, codes: Tensor, frames: int) -> Tensor:
    """The reference's part of the flow's condition [1, frames, content_dim], from its codes [1, T50]."""
    return model.regulator(model.codec.vq2emb(codes), frames)


@torch.inference_mode()
def make_emotion(model: Model, samples: Tensor, rate: int) -> Tensor:
    """Emotion vector [1, D] of a clip [1, T]: the part of `make_voice` an emotion reference needs."""
    samples = check_clip(samples, rate, model, "emotion reference")
    features = model.semantic(resample(samples, rate, model.config.reference.sample_rate).to(model.device))
    return model.gpt.emotion_vector(features.to(dtype_of(model.gpt)))


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


class VoiceCache:
    """Voices and emotion vectors by content, the least recently used dropped beyond a number of bytes.

    A key is the hash of samples, rate, options and model, so that a renamed copy of a clip hits and
    another model misses."""

    def __init__(self, model: Model):
        self.model = model
        self.capacity = model.config.reference.cache_bytes
        self._voices: OrderedDict[str, Voice] = OrderedDict()
        self._emotions: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, samples: Tensor, rate: int, options: str = "") -> str:
        digest = hashlib.sha256(samples.contiguous().numpy().tobytes())
        digest.update(f"|{rate}|{options}|{self.model.fingerprint}".encode())
        return digest.hexdigest()

    def voice(self, samples: Tensor, rate: int, options: str = "") -> Voice:
        """The Voice of a clip [1, T], computed at its first use."""
        key = self.key(samples, rate, options)
        with self._lock:
            if key in self._voices:
                self._voices.move_to_end(key)
                return self._voices[key]
        voice = make_voice(self.model, samples, rate)
        with self._lock:
            self._voices[key] = voice
            self._shrink()
        return voice

    def emotion(self, samples: Tensor, rate: int, options: str = "") -> Tensor:
        """Emotion vector [1, D] of a clip [1, T]; a clip that is a cached voice costs nothing."""
        key = self.key(samples, rate, options)
        with self._lock:
            if key in self._voices:
                return self._voices[key].emotion_vector
            if key in self._emotions:
                self._emotions.move_to_end(key)
                return self._emotions[key]
        vector = make_emotion(self.model, samples, rate)
        with self._lock:
            self._emotions[key] = vector
            self._shrink()
        return vector

    def nbytes(self) -> int:
        return sum(v.nbytes() for v in self._voices.values()) + sum(e.nbytes for e in self._emotions.values())

    def _shrink(self) -> None:
        while self.nbytes() > self.capacity and len(self._voices) + len(self._emotions) > 1:
            (self._voices if len(self._voices) > 1 or not self._emotions else self._emotions).popitem(last=False)
