"""A text segment and a Voice to a wave: GPT → s2mel → BigVGAN.

Axes: n codes, D GPT width, C mel channels, R reference frames, F target frames, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config import SynthesisConfig
from pipeline.gpt.decode import Decoded, decode
from pipeline.gpt.sampling import SamplingOptions
from pipeline.model import Model, dtype_of
from pipeline.s2mel.flow import draw_noise, solve
from pipeline.s2mel.regulator import target_frames
from pipeline.text.prepare import TextSegment
from pipeline.timing import OnProgress, Watch, no_progress
from pipeline.voice import Voice


@dataclass(frozen=True)
class Delivery:
    """How a text is said: by whom, with which emotion vector [1, D] (voice.emotion_vector, or another), and how it
    is sampled."""

    voice: Voice
    emotion_vector: Tensor
    options: SynthesisConfig


@dataclass(frozen=True)
class Draft:
    """A segment's codes before they are given a length in time; generator: draws what is left to be drawn."""

    decoded: Decoded
    generator: torch.Generator
    seed: int


@dataclass(frozen=True)
class SegmentAudio:
    """One segment as the model made it: wave [T] in [-1, 1] on the CPU; codes is how many the GPT made;
    stopped: it ended by itself rather than at the limit."""

    wave: Tensor
    codes: int
    stopped: bool
    seed: int


def sampling_options(options: SynthesisConfig) -> SamplingOptions:
    """temperature 0 means no sampling: the most likely code, or plain beam search."""
    sample = options.temperature > 0
    return SamplingOptions(
        do_sample=sample,
        temperature=options.temperature if sample else 1.0,
        top_k=options.top_k,
        top_p=options.top_p,
        num_beams=options.num_beams,
        repetition_penalty=options.repetition_penalty,
        length_penalty=options.length_penalty,
        max_codes=options.max_mel_tokens,
        mel_positions=options.mel_positions,
    )


class Synthesizer:
    """The stages of one model, wired. Holds no state of a request."""

    def __init__(self, model: Model):
        self.model = model
        self.sample_rate = model.config.audio.sample_rate

    @torch.inference_mode()
    def segment(self, text: TextSegment, delivery: Delivery, seed: int, watch: Watch) -> SegmentAudio:
        """Speak one segment; the same arguments give the same wave."""
        return self.render(self.draft(text, delivery, seed, watch), delivery, watch)

    @torch.inference_mode()
    def draft(self, text: TextSegment, delivery: Delivery, seed: int, watch: Watch) -> Draft:
        """The part of `segment` that says what is spoken."""
        generator = torch.Generator().manual_seed(seed)
        with watch.stage("gpt"):
            decoded = self.codes(text, delivery, generator, watch.progress)
        return Draft(decoded, generator, seed)

    @torch.inference_mode()
    def render(
        self, draft: Draft, delivery: Delivery, watch: Watch, frames: int | None = None
    ) -> SegmentAudio:
        """The part of `segment` that gives it sound, once; frames: its length, None for what the speed makes of it."""
        with watch.stage("s2mel"):
            mel = self.mel(draft.decoded, delivery, draft.generator, watch.progress, frames)
        with watch.stage("vocoder"):
            wave = self.wave(mel)
        return SegmentAudio(wave, len(draft.decoded.codes), draft.decoded.stopped, draft.seed)

    def frames(self, decoded: Decoded, speed: float) -> int:
        """Mel frames of a segment's codes: speed changes the length and not the pitch."""
        return target_frames(len(decoded.codes), self.model.config.s2mel.regulator, 1 / speed)

    def codes(
        self,
        text: TextSegment,
        delivery: Delivery,
        generator: torch.Generator,
        on_progress: OnProgress = no_progress,
    ) -> Decoded:
        """Mel codes [n] and latents [n, D] of one segment."""
        gpt, dtype, options = self.model.gpt, dtype_of(self.model.gpt), delivery.options
        ids = torch.tensor([text.token_ids], device=self.model.device)
        latents, emotion = delivery.voice.speaker_latents, delivery.emotion_vector
        prompt = gpt.prompt_inputs(latents.to(dtype), emotion.to(dtype), ids, text.language_row)
        return decode(
            gpt,
            prompt,
            sampling_options(options),
            generator,
            lambda step: on_progress("gpt", step, options.max_mel_tokens),
            trained_latents=self.model.latent_projection is not None,
        )

    def mel(
        self,
        decoded: Decoded,
        delivery: Delivery,
        generator: torch.Generator,
        on_progress: OnProgress = no_progress,
        frames: int | None = None,
    ) -> Tensor:
        """Mel [1, C, F] of one segment's codes; frames: F, None for what the speed makes of them."""
        model, config, voice, options = self.model, self.model.config, delivery.voice, delivery.options
        frames = self.frames(decoded, options.speed) if frames is None else frames
        if frames == 0:
            return voice.reference_mel[..., :0]
        content = model.codec.decode(decoded.codes[None])
        if model.latent_projection is not None:
            content = content + model.latent_projection(
                decoded.latents[None].to(dtype_of(model.latent_projection))
            )
        conditions = torch.cat([voice.prompt_condition, model.regulator(content, frames)], dim=1)
        noise = draw_noise(config.audio.n_mels, conditions.shape[1], generator, options.noise_scale)
        dtype = model.dit.dtype
        return solve(
            model.dit,
            noise.to(model.device, dtype),
            voice.reference_mel.to(dtype),
            conditions.to(dtype),
            voice.style.to(dtype),
            options.diffusion_steps,
            options.cfg_rate,
            options.time_sway,
            lambda step: on_progress("s2mel", step, options.diffusion_steps),
        )

    def wave(self, mel: Tensor) -> Tensor:
        """Mel [1, C, F] -> wave [T] on the CPU."""
        if mel.shape[-1] == 0:
            return torch.zeros(0)
        return self.model.vocoder(mel.to(dtype_of(self.model.vocoder)))[0].float().cpu()
