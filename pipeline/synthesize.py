"""A text segment and a Voice to a wave: GPT → s2mel → BigVGAN.

Axes: n codes, D GPT width, C mel channels, R reference frames, F target frames, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pipeline.config import SynthesisConfig
from pipeline.gpt.decode import Decoded, decode
from pipeline.gpt.device import DeviceDecoders
from pipeline.gpt.sampling import SamplingOptions
from pipeline.model import Model, dtype_of
from pipeline.s2mel.flow import draw_noise, solve
from pipeline.s2mel.player import FlowPlayer
from pipeline.s2mel.regulator import target_frames
from pipeline.s2mel.together import FlowRow, batches, padded, solve_together
from pipeline.text.prepare import TextSegment
from pipeline.timing import OnProgress, Watch, no_progress
from pipeline.voice import Voice, prompt_frames


@dataclass(frozen=True)
class Delivery:
    """How a text is said: by whom, with which emotion vector [1, D] (voice.emotion_vector, or another), and how it
    is sampled."""

    voice: Voice
    emotion_vector: Tensor
    options: SynthesisConfig

    def with_one_beam(self) -> Delivery:
        return replace(self, options=replace(self.options, num_beams=1))


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


def sampling_options(options: SynthesisConfig, trained_latents: bool = True) -> SamplingOptions:
    """temperature 0 means no sampling: the most likely code, or plain beam search. `trained_latents`: as there."""
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
        trained_latents=trained_latents,
    )


class Synthesizer:
    """The stages of one model, wired. Holds no state of a request."""

    def __init__(self, model: Model):
        self.model = model
        self.sample_rate = model.config.audio.sample_rate
        self.decode: Callable[..., Decoded] = partial(decode, model.gpt)
        self.solve: Callable[..., Tensor] = partial(solve, model.dit)
        self.kept: tuple[DeviceDecoders, FlowPlayer] | None = None
        if model.device.type == "cuda":
            decoders, flow = self.kept = DeviceDecoders(model.gpt), FlowPlayer(model.dit, model.device)
            self.decode, self.solve = decoders.decode, flow.solve

    def free(self) -> None:
        """Give back what is kept on the device between segments: caches, buffers and graphs."""
        for part in self.kept or ():
            part.clear()

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

    @torch.inference_mode()
    def prompt(self, text: TextSegment, delivery: Delivery) -> Tensor:
        """What the GPT goes on from [1, P, D]."""
        gpt, dtype = self.model.gpt, dtype_of(self.model.gpt)
        ids = torch.tensor([text.token_ids], device=self.model.device)
        latents, emotion = delivery.voice.speaker_latents, delivery.emotion_vector
        return gpt.prompt_inputs(latents.to(dtype), emotion.to(dtype), ids, text.language_row)

    def prompt_rows(self, text: TextSegment) -> int:
        """P of `prompt`."""
        return self.model.gpt.text_rows(0).start + len(text.token_ids) + 1

    def sampling(self, options: SynthesisConfig) -> SamplingOptions:
        """How the GPT's codes are searched."""
        return sampling_options(options, trained_latents=self.model.latent_projection is not None)

    def codes(
        self,
        text: TextSegment,
        delivery: Delivery,
        generator: torch.Generator,
        on_progress: OnProgress = no_progress,
    ) -> Decoded:
        """Mel codes [n] and latents [n, D] of one segment."""
        options = delivery.options
        return self.decode(
            self.prompt(text, delivery),
            self.sampling(options),
            generator,
            lambda step: on_progress("gpt", step, options.max_mel_tokens),
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
        voice, options = delivery.voice, delivery.options
        frames = self.frames(decoded, options.speed) if frames is None else frames
        if frames == 0:
            return voice.reference_mel[..., :0]
        row = self.flow_row(decoded, delivery, generator, frames)
        return self.solve_row(row, options, on_progress)

    def solve_row(
        self, row: FlowRow, options: SynthesisConfig, on_progress: OnProgress = no_progress
    ) -> Tensor:
        """Mel [1, C, F] of what the flow takes of a segment."""
        return self.solve(
            row.noise,
            row.reference_mel,
            row.condition,
            row.style,
            options.diffusion_steps,
            options.cfg_rate,
            options.time_sway,
            lambda step: on_progress("s2mel", step, options.diffusion_steps),
        )

    def condition(self, decoded: Decoded, frames: int) -> Tensor:
        """What the flow is to say [1, frames, content_dim]."""
        model = self.model
        content = model.codec.decode(decoded.codes[None])
        if (projection := model.latent_projection) is not None:
            content = content + projection(decoded.latents[None].to(dtype_of(projection)))
        return model.regulator(content, frames)

    def flow_row(
        self, decoded: Decoded, delivery: Delivery, generator: torch.Generator, frames: int
    ) -> FlowRow:
        """What the flow takes of a segment of `frames` mel frames."""
        model, voice = self.model, delivery.voice
        shown = prompt_frames(model.config, voice)
        condition = torch.cat([voice.prompt_condition[:, :shown], self.condition(decoded, frames)], dim=1)
        channels, scale = model.config.audio.n_mels, delivery.options.noise_scale
        noise = draw_noise(channels, condition.shape[1], generator, scale)
        dtype = model.dit.dtype
        return FlowRow(
            noise.to(model.device, dtype),
            voice.reference_mel[..., :shown].to(dtype),
            condition.to(dtype),
            voice.style.to(dtype),
        )

    @torch.inference_mode()
    def render_together(
        self,
        drafts: Sequence[Draft],
        deliveries: Sequence[Delivery],
        most: int,
        on_progress: OnProgress = no_progress,
    ) -> list[SegmentAudio]:
        """`render` for several segments whose flow has the same steps, guidance and sway, in batches of similar length
        and at most `most`: the values of each alone but for rounding."""
        frames = [
            self.frames(draft.decoded, delivery.options.speed)
            for draft, delivery in zip(drafts, deliveries, strict=True)
        ]
        waves: dict[int, Tensor] = {place: torch.zeros(0) for place, count in enumerate(frames) if not count}
        rows = {
            place: self.flow_row(drafts[place].decoded, deliveries[place], drafts[place].generator, count)
            for place, count in enumerate(frames)
            if count
        }
        places, options = list(rows), deliveries[0].options
        for batch in batches([rows[place].length for place in places], most):
            batch = [places[index] for index in batch]
            mels = solve_together(
                self.model.dit,
                [rows[place] for place in batch],
                options.diffusion_steps,
                options.cfg_rate,
                options.time_sway,
                lambda step: on_progress("s2mel", step, options.diffusion_steps),
            )
            waves |= zip(batch, self.waves(mels), strict=True)
        return [
            SegmentAudio(waves[place], len(draft.decoded.codes), draft.decoded.stopped, draft.seed)
            for place, draft in enumerate(drafts)
        ]

    def waves(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Mels [1, C, F] of different F, none of them 0 -> waves [T] on the CPU."""
        lengths, hop = [mel.shape[-1] for mel in mels], self.model.config.audio.hop_length
        together = padded(mels, max(lengths), 2).to(dtype_of(self.model.vocoder))
        found = self.model.vocoder(together, lengths).float().cpu()
        return [row[: length * hop] for row, length in zip(found, lengths, strict=True)]

    def wave(self, mel: Tensor) -> Tensor:
        """Mel [1, C, F] -> wave [T] on the CPU."""
        if mel.shape[-1] == 0:
            return torch.zeros(0)
        return self.model.vocoder(mel.to(dtype_of(self.model.vocoder)))[0].float().cpu()
