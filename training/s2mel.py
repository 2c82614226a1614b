"""Trains regulator, latent projection and flow: mel from codes, behind a reference of the same speaker.

Axes: B batch, C mel channels, n codes, R reference frames, F target frames, W codec width, D GPT width.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config import ModelConfig
from pipeline.s2mel.dit import FlowEstimator
from pipeline.s2mel.flow import guided, swayed
from pipeline.s2mel.regulator import LengthRegulator, make_latent_projection
from training.device import place, ready
from training.features import Arrays
from training.initialize import initialize


@dataclasses.dataclass(frozen=True)
class S2MelOptions:
    """The `stage` section of an s2mel training configuration.

    `crop_codes` and `reference_codes` bound target and reference; targets are clips that last as long as a batch's crop.
    Conditions are dropped altogether with probability
    `drop_condition` (for guidance), the GPT latents with `drop_latents`. `time_sway` bends the times that are drawn.
    """

    batch: int
    crop_codes: tuple[int, int]
    reference_codes: tuple[int, int]
    drop_condition: float
    drop_latents: float
    time_sway: float
    seed: int


class S2Mel(nn.Module):
    """The three modules of an s2mel checkpoint under their published section names."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.cfm = FlowEstimator(config.s2mel.dit, config.s2mel.wavenet)
        self.length_regulator = LengthRegulator(config.s2mel.regulator)
        self.gpt_layer = make_latent_projection(
            config.gpt.model_dim, config.s2mel.latent_widths, config.codec.hidden_size
        )


@dataclasses.dataclass(frozen=True)
class Crops:
    """embedding [B, n, W] and mel [B, C, F] of crops of one length; latents [B, n, D] of a target."""

    embedding: Tensor
    mel: Tensor
    latents: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Path:
    """Noisy mels [B, C, R + F] at times t [B], what the flow is told there, and the velocity [B, C, R + F] of the straight
    way to the mel; of the first `prompt_frames`, the reference, nothing is asked."""

    noisy: Tensor
    t: Tensor
    prompt: Tensor
    condition: Tensor
    style: Tensor
    velocity: Tensor
    prompt_frames: int

    def errors(self, found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Mean square over the target, and over that of the later times alone."""
        error = (found.float() - wanted.float())[..., self.prompt_frames :].square()
        late = self.t > 0.5
        return {"loss": error.mean(), "late": (error.mean((1, 2)) * late).sum() / late.sum().clamp(min=1)}


def way_from_noise(
    reference: Tensor,
    target: Tensor,
    condition: Tensor,
    style: Tensor,
    given: Tensor,
    noise: Tensor,
    t: Tensor,
) -> Path:
    """Where targets behind references are at times t [B] on the straight way from noise.

    reference [B, C, R], target [B, C, F], condition [B, R + F, content], style [B, S], noise [B, C, R + F]; given [B, 1, 1]:
    1, or 0 where prompt, condition and style are dropped."""
    clean = torch.cat([reference, target], dim=-1)
    prompt_frames = reference.shape[-1]
    prompt = clean.clone()
    prompt[..., prompt_frames:] = 0
    noisy = t[:, None, None] * clean + (1 - t[:, None, None]) * noise
    noisy[..., :prompt_frames] = 0
    return Path(
        noisy, t, prompt * given, condition * given, style * given[:, 0], clean - noise, prompt_frames
    )


class S2MelStage:
    """Flow matching on the target; `clips` hold `mel` [C, F], `codes` [n] and, if trained with them, `latents` [n, D]."""

    def __init__(
        self,
        config: ModelConfig,
        options: S2MelOptions,
        clips: Mapping[int, Arrays],
        speaker_of: Mapping[int, str],
        styles: Mapping[int, np.ndarray],
        codebook: Tensor,
    ):
        """`styles` [S] per clip; `codebook` [K, W] is what `vq2emb` gives for every code."""
        self.options, self.codebook = options, codebook
        self.frames_per_code = config.s2mel.regulator.frames_per_code
        self.module = initialize(S2Mel(config), options.seed)
        self.clips, self.styles, self.speaker_of = clips, styles, speaker_of
        self.references: dict[str, list[int]] = {}
        for index in clips:
            if len(clips[index]["codes"]) >= options.reference_codes[1]:
                self.references.setdefault(speaker_of[index], []).append(index)
        lengths = {
            index: len(clips[index]["codes"]) for index in clips if speaker_of[index] in self.references
        }
        self.targets = sorted(
            (index for index in lengths if lengths[index] >= options.crop_codes[0]), key=lengths.get
        )
        self.lengths = np.array([lengths[index] for index in self.targets])
        if not self.targets:
            raise ValueError(
                f"no clip lasts {options.crop_codes[0]} codes or more and has a reference of its speaker"
            )
        for parameter in self.module.gpt_layer[
            -1
        ].parameters():  # latents add nothing until they are trained with
            nn.init.zeros_(parameter)
        with torch.no_grad():  # the flow's mean velocity is the mean mel: start from it
            some = torch.cat([place(clips[index]["mel"]).float() for index in self.targets[:64]], dim=1)
            self.module.cfm.estimator.conv2.bias.copy_(some.mean(1))

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        path = self.draw(rng, self.draw_given(rng))
        velocity = self.module.cfm.estimator(path.noisy, path.t, path.prompt, path.condition, path.style)
        return path.errors(velocity, path.velocity)

    def draw_given(self, rng: np.random.Generator) -> Tensor:
        """[B, 1, 1]: 1, or 0 with probability `drop_condition`."""
        given = place(rng.random(self.options.batch) >= self.options.drop_condition).float()
        return given[:, None, None]

    def draw(self, rng: np.random.Generator, given: Tensor) -> Path:
        """Targets behind references, at random times on the way from noise; conditions times `given` [B, 1, 1]."""
        options, module = self.options, self.module
        codes = min(int(rng.integers(*options.crop_codes, endpoint=True)), int(self.lengths[-1]))
        long_enough = self.targets[int(np.searchsorted(self.lengths, codes)) :]
        targets = [long_enough[i] for i in rng.integers(len(long_enough), size=options.batch)]
        references = [rng.choice(self.references[self.speaker_of[index]]) for index in targets]
        target = self.crop(rng, targets, codes)
        reference = self.crop(rng, references, int(rng.integers(*options.reference_codes, endpoint=True)))
        embedding = target.embedding
        if target.latents is not None:
            kept = place(rng.random(options.batch) >= options.drop_latents).float()[:, None, None]
            embedding = embedding + kept * module.gpt_layer(target.latents)
        condition = torch.cat(
            [
                module.length_regulator(reference.embedding, reference.mel.shape[-1]),
                module.length_regulator(embedding, target.mel.shape[-1]),
            ],
            dim=1,
        )
        style = place(np.stack([self.styles[index] for index in references])).float()
        noise = torch.randn_like(torch.cat([reference.mel, target.mel], dim=-1))
        t = swayed(torch.rand(options.batch), options.time_sway)
        return way_from_noise(reference.mel, target.mel, condition, style, given, noise, t)

    def crop(self, rng: np.random.Generator, indices: list[int], codes: int) -> Crops:
        """A crop of so many codes of each clip."""
        frames = int(codes * self.frames_per_code)
        parts, mels, latents = [], [], []
        for index in indices:
            clip = self.clips[index]
            start = int(rng.integers(len(clip["codes"]) - codes + 1))
            first = round(start * self.frames_per_code)
            first = min(first, clip["mel"].shape[1] - frames)
            parts.append(clip["codes"][start : start + codes].astype(np.int64))
            mels.append(clip["mel"][:, first : first + frames])
            if "latents" in clip:
                latents.append(clip["latents"][start : start + codes])
        return Crops(
            self.codebook[place(np.stack(parts))],
            place(np.stack(mels)).float(),
            place(np.stack(latents)).float() if latents else None,
        )


class DistillationStage(S2MelStage):
    """Teaches the flow the velocity that it has under guidance, so that synthesis asks it once a step and not twice
    ("On Distillation of Guided Diffusion Models", Meng et al. 2023, for one rate, the `learned_guidance` of the model's
    configuration). Of rows without a condition, a share `drop_condition`, the pupil learns what the teacher says: it can
    be guided further. Regulator and latent projection stay as they are."""

    def __init__(
        self,
        config: ModelConfig,
        options: S2MelOptions,
        clips: Mapping[int, Arrays],
        speaker_of: Mapping[int, str],
        styles: Mapping[int, np.ndarray],
        codebook: Tensor,
        teacher: Mapping[str, Tensor],
    ):
        """`teacher`: the state dict of the trained modules, from which the pupil starts."""
        super().__init__(config, options, clips, speaker_of, styles, codebook)
        self.guidance = config.s2mel.learned_guidance
        self.teacher = load_s2mel(config, teacher).cfm.estimator
        self.module.load_state_dict(teacher)
        for part in (self.module.length_regulator, self.module.gpt_layer):
            part.requires_grad_(False)

    def losses(self, rng: np.random.Generator, step: int) -> dict[str, Tensor]:
        path = self.draw(rng, self.draw_given(rng))
        told = (path.prompt, path.condition, path.style)
        with torch.no_grad():
            both = (torch.cat([x, torch.zeros_like(x)]) for x in told)
            velocity = self.teacher(path.noisy.repeat(2, 1, 1), path.t.repeat(2), *both)
            wanted = guided(velocity.float(), self.guidance)
        return path.errors(self.module.cfm.estimator(path.noisy, path.t, *told), wanted)


def load_s2mel(config: ModelConfig, state: Mapping[str, Tensor]) -> S2Mel:
    """The trained modules in eval mode."""
    module = S2Mel(config)
    module.load_state_dict(state)
    return ready(module)
