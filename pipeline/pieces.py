"""A segment spoken in pieces while its codes are still being made.

What was said before is the flow's prompt for what comes next, behind the end of the reference; a few codes at the end
of each piece serve as what follows and are said with the next one. The vocoder sees mel on both sides of a piece, and
the last samples of one are faded into the first of the next.

The result is not that of the whole segment, for nobody knew the end when the beginning was said: as far from it as
that of another seed (checks/seams.py). Axes: C mel channels, F frames, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.gpt.decode import Decoded
from pipeline.s2mel.flow import draw_noise_by_frame, solve
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.timing import Watch

# Codes of a model that makes CODE_RATE a second; one that makes fewer needs fewer for as much speech.
CODE_RATE = 50
FIRST_CODES = 25  # half a second of speech
MOST_CODES = 100  # a piece has twice the codes of the one before, up to this
HELD_CODES = 5  # at the end of a piece: they are what follows for those before them
REFERENCE_SECONDS = 2.0  # of the reference, and
CONTEXT_SECONDS = 2.0  # of what was said: the work of a piece must not grow with the text
VOCODER_LEFT, VOCODER_RIGHT = 24, 8  # mel frames that a sample depends on in what is heard
FADE_SAMPLES = 256


@dataclass
class Pieces:
    """One segment on its way. Not thread-safe: its pieces are asked for one after another."""

    synthesizer: Synthesizer
    delivery: Delivery
    generator: torch.Generator  # draws the flow's noise
    watch: Watch
    codes: int = 0  # spoken or held
    size: int = field(init=False)
    mel: Tensor | None = None  # [1, C, F] so far
    noise: Tensor | None = None  # [1, C, F] of those frames and of the held ones
    spoken: int = 0  # frames whose samples are out
    tail: Tensor = field(
        default_factory=lambda: torch.zeros(0)
    )  # [T] of the frames that come next, as they were

    def __post_init__(self) -> None:
        self.size = self.fewer(FIRST_CODES)

    def fewer(self, codes: int) -> int:
        """How many of the model's codes last as long as `codes` at CODE_RATE."""
        config = self.synthesizer.model.config
        rate = config.audio.sample_rate / config.audio.hop_length / config.s2mel.regulator.frames_per_code
        return max(1, round(codes * rate / CODE_RATE))

    @property
    def hop(self) -> int:
        return self.synthesizer.model.config.audio.hop_length

    def wants(self, codes: int) -> bool:
        """Whether so many codes are enough for another piece."""
        return codes >= self.codes + self.size

    @torch.inference_mode()
    def speak(self, decoded: Decoded, last: bool) -> Tensor:
        """The samples [T] that follow, of all codes there are; last: no more come."""
        self.codes = len(decoded.codes)
        self.size = min(2 * self.size, self.fewer(MOST_CODES))
        speed = self.delivery.options.speed
        there = self.synthesizer.frames(decoded, speed)
        held = 0 if last else self.fewer(HELD_CODES)
        sure = there if last else int(there * max(0, self.codes - held) / max(1, self.codes))
        with self.watch.stage("s2mel"):
            self.extend(decoded, there, sure)
        with self.watch.stage("vocoder"):
            return self.sound(last)

    def extend(self, decoded: Decoded, there: int, sure: int) -> None:
        """The mel up to frame `sure`, made with what is known up to frame `there`."""
        synthesizer, voice, options = self.synthesizer, self.delivery.voice, self.delivery.options
        model, dtype = synthesizer.model, synthesizer.model.dit.dtype
        channels = model.config.audio.n_mels
        if self.mel is None:
            self.mel = voice.reference_mel.new_zeros(1, channels, 0).to(dtype)
            self.noise = self.mel
        done = self.mel.shape[-1]
        if sure <= done:
            return
        fresh = draw_noise_by_frame(
            channels, max(0, there - self.noise.shape[-1]), self.generator, options.noise_scale
        )
        self.noise = torch.cat([self.noise, fresh.to(model.device, dtype)], dim=-1)
        rate = model.config.audio.sample_rate / model.config.audio.hop_length
        reference = voice.reference_mel[..., -round(REFERENCE_SECONDS * rate) :].to(dtype)
        begin = max(0, done - round(CONTEXT_SECONDS * rate))
        condition = synthesizer.condition(decoded, there)[:, begin:]
        known = torch.cat([reference, self.mel[..., begin:]], dim=-1)
        conditions = torch.cat([voice.prompt_condition[:, -reference.shape[-1] :], condition], dim=1).to(
            dtype
        )
        noise = torch.cat([torch.zeros_like(reference), self.noise[..., begin:there]], dim=-1)
        made = solve(
            model.dit,
            noise,
            known,
            conditions,
            voice.style.to(dtype),
            options.diffusion_steps,
            options.cfg_rate,
            options.time_sway,
            lambda step: self.watch.progress("s2mel", step, options.diffusion_steps),
        )
        self.mel = torch.cat([self.mel, made[..., : sure - done]], dim=-1)

    def sound(self, last: bool) -> Tensor:
        """The samples of the mel frames that have enough after them."""
        end, hop = self.mel.shape[-1], self.hop
        out = end if last else max(self.spoken, end - VOCODER_RIGHT)
        if end == self.spoken or (out == self.spoken and not last):
            return torch.zeros(0)
        begin = max(0, self.spoken - VOCODER_LEFT)
        wave = self.synthesizer.wave(self.mel[..., begin:])[(self.spoken - begin) * hop :]
        fade = min(FADE_SAMPLES, len(self.tail), len(wave))
        if fade:
            rise = torch.linspace(0, 1, fade + 2)[1:-1]
            wave = torch.cat([rise * wave[:fade] + (1 - rise) * self.tail[:fade], wave[fade:]])
        ready = (out - self.spoken) * hop
        self.spoken, self.tail = out, wave[ready:]
        return wave[:ready]
