"""Speech said again in another voice: its file read, then its parts, each as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from enhance.audio_input.read import read_audio
from pipeline.convert import Source, make_source, speak_source
from pipeline.model import Model
from pipeline.synthesize import Delivery
from pipeline.timing import Watch
from pipeline.voice_file import is_voice_file
from service.budget import SEGMENT
from service.finish.shape import fade_ends

NOT_FINITE = "it holds samples that are not finite numbers, which became silence"


@dataclass(frozen=True)
class Converted:
    """A stretch of the result: wave [T]; how many codes of the source it is of; the request's seed; whether the
    model's samples were finite, and what is wrong with it."""

    wave: Tensor
    codes: int
    seed: int
    finite: bool
    warnings: tuple[str, ...]


def read_source(model: Model, path: Path, speed: float) -> Source:
    """The speech in a file. Raises ValueError saying what is wrong with it."""
    if is_voice_file(path):
        raise ValueError("source_audio is a voice file, which holds no speech; give audio, or it as speaker")
    audio = read_audio(path)
    return make_source(model, audio.samples, audio.sample_rate, speed)


def convert(model: Model, source: Source, delivery: Delivery, seed: int, watch: Watch) -> Iterator[Converted]:
    """The source in the delivery's voice; the parts one after another have no seam."""
    waves = speak_source(model, source, delivery.voice, delivery.options, seed, watch)
    hop, rate, done = model.config.audio.hop_length, model.config.audio.sample_rate, 0
    for index in range(len(source.spans)):
        watch.progress(SEGMENT, index, len(source.spans))
        wave = next(waves, None)
        if wave is None:
            return
        first, last = done == 0, done + len(wave) == source.frames * hop
        codes = round((done + len(wave)) / hop / source.frames * source.codes.shape[-1])
        codes -= round(done / hop / source.frames * source.codes.shape[-1])
        done += len(wave)
        finite = bool(torch.isfinite(wave).all())
        wave = torch.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0)
        faded = fade_ends(wave, rate)
        half = len(wave) // 2
        joined = torch.cat([(faded if first else wave)[:half], (faded if last else wave)[half:]])
        yield Converted(joined, codes, seed, finite, () if finite else (NOT_FINITE,))
