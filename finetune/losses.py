"""What is minimized: cross-entropy of the codes behind a text, and the flow's error behind a reference.

Both draw a pass's clips and noise from a numpy generator alone, so that a pass is the same wherever it is computed.

Axes: B batch, n codes, C mel channels, R reference frames, F target frames, D GPT width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.features import Example
from finetune.options import MICRO_SECONDS
from pipeline.model import Model
from pipeline.s2mel.flow import guided, swayed
from training.gpt import Sample, alignment_loss, asked, build_sequences, teacher_forced, with_noise
from training.s2mel import Path, way_from_noise

CODE_NOISE = 0.05  # share of the input codes that is replaced, so that the GPT leans on the text
ALIGNMENT_WEIGHT = 0.1
CROP_SECONDS = (2.0, 4.0)  # of the flow's target,
REFERENCE_SECONDS = (1.5, 4.0)  # and of its reference
DROP_CONDITION = 0.1  # for guidance
DROP_LATENTS = 0.3  # so that voice conversion, which has none, is trained as well

Losses = Callable[[np.random.Generator], dict[str, Tensor]]


def draw(rng: np.random.Generator, examples: Sequence[Example], seconds: float) -> list[Example]:
    """Random clips of `seconds` in all, at least one."""
    order, chosen, total = rng.permutation(len(examples)), [], 0.0
    for index in order:
        if chosen and total + examples[index].seconds > seconds:
            break
        chosen.append(examples[index])
        total += examples[index].seconds
    return chosen


class GPTLosses:
    """Cross-entropy of the codes; where the model's configuration names heads that follow the text, also
    their order."""

    def __init__(self, model: Model, examples: Sequence[Example], seconds: float = MICRO_SECONDS):
        """seconds: of clips in a pass."""
        config = model.config.gpt
        self.model, self.seconds = model, seconds
        self.examples = [
            e for e in examples if e.ids is not None and len(e.tensors["codes"]) <= config.max_mel_tokens
        ]
        self.projected: Tensor | None = None
        self.alignment = config.alignment
        if self.alignment is not None:
            model.gpt.gpt.h[self.alignment.layer].attn.c_attn.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.projected = output

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.of(draw(rng, self.examples, self.seconds), rng)

    def of(self, chosen: Sequence[Example], rng: np.random.Generator) -> dict[str, Tensor]:
        """The losses of some clips, each behind the voice of a random one."""
        gpt, device = self.model.gpt, self.model.device
        voices = [self.examples[int(i)] for i in rng.integers(len(self.examples), size=len(chosen))]
        samples = [Sample(e.ids.numpy(), e.tensors["codes"].numpy().astype(np.int64), "") for e in chosen]
        config = self.model.config.gpt
        fed = [with_noise(rng, sample.codes, CODE_NOISE, config.start_mel_token) for sample in samples]
        latents, emotions = (
            torch.stack([e.tensors[key] for e in voices]).to(device)
            for key in ("speaker_latents", "emotion_vector")
        )
        batch = build_sequences(gpt, samples, fed, latents, emotions)
        hidden = gpt.latents(batch.inputs)
        targets = [sample.codes for sample in samples]
        codes = F.cross_entropy(
            *asked(gpt.mel_head, hidden, batch, batch.code_rows(), targets, config.stop_mel_token)
        )
        losses = {"loss": codes, "codes": codes}
        if self.alignment is not None:
            split = gpt.gpt.h[self.alignment.layer].attn.split(self.projected.float())
            heads = list(self.alignment.heads)
            losses["alignment"] = alignment_loss(split[0][:, heads], split[1][:, heads], batch)
            losses["loss"] = codes + ALIGNMENT_WEIGHT * losses["alignment"]
        return losses


@torch.no_grad()
def gpt_latents(model: Model, example: Example) -> Tensor:
    """Latents [n, D] of a clip's own codes behind its text and voice, as synthesis gets them."""
    sample = Sample(example.ids.numpy(), example.tensors["codes"].numpy().astype(np.int64), "")
    voice = (example.tensors[key][None].to(model.device) for key in ("speaker_latents", "emotion_vector"))
    return teacher_forced(model.gpt, [sample], *voice)[0].float().cpu()


@dataclasses.dataclass(frozen=True)
class Crop:
    """embedding [n, W], mel [C, F], latents [n, D]; known: 1 where there are latents, else 0."""

    embedding: Tensor
    mel: Tensor
    latents: Tensor
    known: float


class FlowLosses:
    """The error of the flow's velocity on a crop behind a reference of another clip (or of the same where it
    is alone)."""

    def __init__(self, model: Model, examples: Sequence[Example], seconds: float = MICRO_SECONDS):
        """seconds: of clips in a pass."""
        self.model, self.examples, self.seconds = model, list(examples), seconds
        with torch.no_grad():
            codes = torch.arange(model.config.codec.codebook_size, device=model.device)
            self.codebook = model.codec.vq2emb(codes[None])[0].clone()

    def __call__(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.of(draw(rng, self.examples, self.seconds), rng)

    def of(self, chosen: Sequence[Example], rng: np.random.Generator) -> dict[str, Tensor]:
        """The losses of a crop of each of some clips."""
        model, device = self.model, self.model.device
        references = [self.other(rng, example) for example in chosen]
        targets = self.crops(rng, chosen, CROP_SECONDS)
        prompts = self.crops(rng, references, REFERENCE_SECONDS)
        embedding = stacked(targets, "embedding").to(device)
        known = torch.tensor([crop.known for crop in targets])
        kept = known * torch.from_numpy(rng.random(len(chosen)) >= DROP_LATENTS).float()
        projected = model.latent_projection(stacked(targets, "latents").to(device))
        embedding = embedding + kept.to(device)[:, None, None] * projected
        target, reference = stacked(targets, "mel").to(device), stacked(prompts, "mel").to(device)
        condition = torch.cat(
            [
                model.regulator(stacked(prompts, "embedding").to(device), reference.shape[-1]),
                model.regulator(embedding, target.shape[-1]),
            ],
            dim=1,
        )
        style = torch.stack([example.tensors["style"] for example in references]).to(device)
        given = torch.from_numpy(rng.random(len(chosen)) >= DROP_CONDITION).float().to(device)
        noise = torch.from_numpy(
            rng.standard_normal((len(chosen), *torch.cat([reference, target], -1).shape[1:]), np.float32)
        ).to(device)
        times = torch.from_numpy(rng.random(len(chosen), np.float32)).to(device)
        t = swayed(times, model.config.synthesis.time_sway)
        path = way_from_noise(reference, target, condition, style, given[:, None, None], noise, t)
        velocity = model.dit(path.noisy, path.t, path.prompt, path.condition, path.style)
        return {"loss": path.errors(velocity, self.wanted(path, given[:, None, None]))["loss"]}

    def wanted(self, path: Path, given: Tensor) -> Tensor:
        """The velocity [B, C, R + F] to be learned: the way's own, or, where guidance was distilled into the flow, what
        it is under that guidance, so that fine-tuning does not undo it; given [B, 1, 1]."""
        rate = self.model.config.s2mel.learned_guidance
        if rate == 0:
            return path.velocity
        with torch.no_grad():
            nothing = (torch.zeros_like(x) for x in (path.prompt, path.condition, path.style))
            null = self.model.dit(path.noisy, path.t, *nothing)
        return torch.where(given > 0, guided(torch.cat([path.velocity, null]), rate), path.velocity)

    def other(self, rng: np.random.Generator, example: Example) -> Example:
        others = [e for e in self.examples if e is not example] or [example]
        return others[int(rng.integers(len(others)))]

    def crops(
        self, rng: np.random.Generator, examples: Sequence[Example], limits: tuple[float, float]
    ) -> list[Crop]:
        """A crop of each, all of one random length that the shortest has."""
        rates = [len(e.tensors["codes"]) / e.seconds for e in examples]
        shortest = min(len(e.tensors["codes"]) for e in examples)
        length = min(shortest, int(rng.uniform(*limits) * rates[0]))
        per_code = min(e.tensors["mel"].shape[-1] / len(e.tensors["codes"]) for e in examples)
        frames = max(1, int(length * per_code))
        crops = []
        for example in examples:
            codes, mel = example.tensors["codes"], example.tensors["mel"]
            start = int(rng.integers(len(codes) - length + 1))
            first = min(round(start * mel.shape[-1] / len(codes)), mel.shape[-1] - frames)
            latents = example.tensors.get("latents")
            width = self.model.config.gpt.model_dim
            crops.append(
                Crop(
                    self.codebook[codes[start : start + length].long().to(self.codebook.device)],
                    mel[:, first : first + frames].float(),
                    torch.zeros(length, width)
                    if latents is None
                    else latents[start : start + length].float(),
                    float(latents is not None),
                )
            )
        return crops


def stacked(crops: Sequence[Crop], name: str) -> Tensor:
    return torch.stack([getattr(crop, name) for crop in crops])
