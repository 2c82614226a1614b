"""Voice conversion: speech that is there already, said again by another voice. Semantic codes → s2mel → BigVGAN.

A source of any length is heard and spoken in windows that overlap. Neighbouring windows share codes and noise
where they overlap and are faded into one another as mels; the vocoder then sees one mel, a stretch at a time
with what lies around it. So there is no seam in the wave.

Axes: n codes, C mel channels, R reference frames, F frames of the source, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.audio import resample
from pipeline.config import SynthesisConfig, VocoderConfig
from pipeline.model import Model, dtype_of
from pipeline.s2mel.flow import draw_noise, solve
from pipeline.timing import Watch
from pipeline.vocoder.bigvgan import FILTER_TAPS, KERNEL
from pipeline.voice import Voice, prompt_frames

MIN_SECONDS = 0.3  # shorter is no word
HEARD_CONTEXT_SECONDS = 1.0  # on each side of what is heard at once
WINDOW_SECONDS, OVERLAP_SECONDS = 10.0, 0.5  # of what is spoken at once


@dataclass(frozen=True)
class Span:
    """Codes start to end, and the frames first to last that they become."""

    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Source:
    """Speech to say again: codes [1, n]; frames F it becomes; spans that cover them, each overlapping the next."""

    codes: Tensor
    frames: int
    spans: tuple[Span, ...]


@torch.inference_mode()
def make_source(model: Model, samples: Tensor, rate: int, speed: float = 1.0) -> Source:
    """The source of a clip [1, T] of any length; at `speed` 1 it becomes as many frames as the clip has, to one.

    Raises ValueError when the clip is too short or silent."""
    seconds, limits = samples.shape[-1] / rate, model.config.reference
    if seconds < MIN_SECONDS:
        raise ValueError(f"source_audio is {seconds:.2f} s long; allowed: {MIN_SECONDS:g} s or more")
    if float(samples.abs().max()) < 10 ** (limits.silence_dbfs / 20):
        raise ValueError(f"source_audio is silent; it must reach {limits.silence_dbfs:g} dBFS")
    codes = hear(model, resample(samples, rate, limits.sample_rate))
    audio = model.config.audio
    frames = max(1, round(seconds * audio.sample_rate / audio.hop_length / speed))
    codes_per_second = codes.shape[-1] / seconds
    spans = make_spans(
        codes.shape[-1],
        frames,
        max(1, round(WINDOW_SECONDS * codes_per_second)),
        max(1, round(OVERLAP_SECONDS * codes_per_second)),
    )
    return Source(codes, frames, spans)


def hear(model: Model, wave: Tensor) -> Tensor:
    """Codes [1, n] of a wave [1, T] of any length at the semantic encoder's rate; what is longer than a reference may
    be is heard in stretches, each with what lies around it."""
    semantic, limits, stride = model.semantic, model.config.reference, model.codec.stride
    stretch, context = (
        int(seconds * limits.sample_rate) // (semantic.samples_per_code * stride)
        for seconds in (limits.max_seconds, HEARD_CONTEXT_SECONDS)
    )
    total = math.ceil(semantic.codes_of(wave.shape[-1]) / stride)
    if total <= stretch:
        return model.codec.encode(semantic(wave.to(model.device)))
    found = []
    for start in range(0, total, stretch):
        first, end = max(0, start - context), min(total, start + stretch)
        heard = wave[:, slice(*semantic.samples_of(first * stride, min(total, end + context) * stride))]
        codes = model.codec.encode(semantic(heard.to(model.device)))
        found.append(codes[:, start - first : end - first])
    return torch.cat(found, dim=1)


def make_spans(codes: int, frames: int, window: int, overlap: int) -> tuple[Span, ...]:
    """Windows of at most `window` codes that overlap by `overlap`, all of like length, and their frames."""
    count = max(1, math.ceil((codes - overlap) / max(1, window - overlap)))
    step = (codes - overlap) / count if count > 1 else codes
    bounds = [
        (round(index * step), codes if index + 1 == count else round((index + 1) * step) + overlap)
        for index in range(count)
    ]
    return tuple(
        Span(start, end, round(start * frames / codes), round(end * frames / codes)) for start, end in bounds
    )


def speak_source(
    model: Model, source: Source, voice: Voice, options: SynthesisConfig, seed: int, watch: Watch
) -> Iterator[Tensor]:
    """Waves [T] that one after another are the source in `voice`: F · hop samples. One comes after each span; the
    same arguments give the same samples."""
    generator = torch.Generator().manual_seed(seed)
    noise = draw_noise(model.config.audio.n_mels, source.frames, generator, options.noise_scale)
    margin = reach(model.config.vocoder)
    mel = noise.new_empty(1, model.config.audio.n_mels, 0)  # the frames from `start` on that are settled
    start = done = 0  # frames before `done` have become samples
    overlap: Tensor | None = None  # the end of the last span, not settled yet
    for index, span in enumerate(source.spans):
        with watch.stage("s2mel"):
            spoken = span_mel(model, source, span, noise[..., span.first : span.last], voice, options, watch)
        if overlap is not None:
            spoken = torch.cat([faded(overlap, spoken), spoken[..., overlap.shape[-1] :]], dim=-1)
        last = index + 1 == len(source.spans)
        settled = span.last if last else source.spans[index + 1].first
        overlap = spoken[..., settled - span.first :]
        mel = torch.cat([mel, spoken[..., : settled - span.first]], dim=-1)
        end = settled if last else settled - margin
        if end > done:
            with watch.stage("vocoder"):
                wave = stretch_wave(model, mel, done - start, end - start, margin)
            yield wave
            done = end
            kept = max(0, done - margin - start)
            mel, start = mel[..., kept:], start + kept


@torch.inference_mode()
def span_mel(
    model: Model,
    source: Source,
    span: Span,
    noise: Tensor,
    voice: Voice,
    options: SynthesisConfig,
    watch: Watch,
) -> Tensor:
    """Mel [1, C, last − first] of a span, on the CPU; noise [1, C, last − first]."""
    codes = source.codes[:, span.start : span.end]
    condition = model.regulator(model.codec.decode(codes), span.last - span.first)
    shown, dtype = prompt_frames(model.config, voice), model.dit.dtype
    reference = voice.reference_mel[..., :shown]
    start = torch.cat([torch.zeros_like(reference, device="cpu"), noise], dim=-1)
    mel = solve(
        model.dit,
        start.to(model.device, dtype),
        reference.to(dtype),
        torch.cat([voice.prompt_condition[:, :shown], condition], dim=1).to(dtype),
        voice.style.to(dtype),
        options.diffusion_steps,
        options.cfg_rate,
        options.time_sway,
        lambda step: watch.progress("s2mel", step, options.diffusion_steps),
    )
    return mel.float().cpu()


def faded(old: Tensor, new: Tensor) -> Tensor:
    """Two mels of the same frames, [1, C, F] and at least that: from the first to the second, evenly."""
    frames = old.shape[-1]
    share = (torch.arange(frames) + 0.5) / frames
    return torch.lerp(old, new[..., :frames], share)


@torch.inference_mode()
def stretch_wave(model: Model, mel: Tensor, first: int, end: int, margin: int) -> Tensor:
    """Samples [T] of the frames first to end of a mel [1, C, …], vocoded with up to `margin` frames around them."""
    hop, before = model.config.audio.hop_length, max(0, first - margin)
    around = mel[..., before : end + margin].to(model.device, dtype_of(model.vocoder))
    wave = model.vocoder(around)[0].float().cpu()
    return wave[(first - before) * hop : (end - before) * hop]


def reach(config: VocoderConfig) -> int:
    """Frames on each side that a sample of the vocoder depends on, at most."""
    frames, rate = float(KERNEL // 2), 1
    for up, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        rate *= up
        block = max(
            sum((size // 2) * (dilation + 1) + 2 * FILTER_TAPS for dilation in dilations)
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            )
        )
        frames += (kernel + block) / rate
    return math.ceil(frames + (FILTER_TAPS + KERNEL) / rate)
