"""A training from its data set to its archive, in stages that each go on where they were left.

Everything lies in one work folder: `raw` (as it came), `clips`, `features`, `gpt` and `s2mel` (checkpoints and losses),
`result`. The same request in the same folder goes on; another folder starts anew.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from finetune.clips import Clip, Preparation, Refusal, prepare_clips
from finetune.dataset import Dataset, read_dataset
from finetune.distributed import Processes
from finetune.export import Export, write_archive
from finetune.features import Example, extract, feature_path, write
from finetune.fetch import fetch_all, read_urls
from finetune.loop import Outcome, Run
from finetune.losses import FlowLosses, GPTLosses, gpt_latents
from finetune.options import DEFAULT_STEPS, Options
from finetune.trainable import Trained, save_memory
from finetune.transcribe import transcribe_missing
from finetune.unpack import unpack
from pipeline.adapter import Adapter, adapted
from pipeline.voice import is_coded
from service.service import Service

logger = logging.getLogger(__name__)

RAW, RAW_PARTIAL, RAW_PROBLEMS = "raw", "raw.part", "raw-problems.txt"
LATENTS = "latents"
MIN_CLIPS = 2
VALIDATION_SEED = 20_000
VALIDATION_DRAWS = 4  # of each held-out clip: crops, noise and times differ


@dataclass(frozen=True)
class Work:
    """A training under way; load: of the model, which is asked for once there is something to train on."""

    options: Options
    folder: Path
    load: Callable[[], Service]
    processes: Processes

    @functools.cached_property
    def service(self) -> Service:
        return self.load()


def run(work: Work) -> Path:
    """The archive of a training. Raises ValueError, in one line, for what the caller can put right."""
    options, folder = work.options, work.folder
    with work.processes.first_alone():
        dataset, problems = obtain(work)
    service = work.service
    if not is_coded(service.model):
        raise ValueError(f"{service.model.config.name} cannot be trained yet; allowed: indextts2 and tiny-en")
    with work.processes.first_alone():
        clips, refusals = prepare(work, dataset)
        clips, how = transcribe_missing(clips, folder, options.train_gpt)
        logger.info("texts: %s", how)
        examples, unused = extract(service, clips, folder, options.language)
    refusals = [*(Refusal("data set", line) for line in problems), *refusals, *unused]
    training, held_out = split(examples, options)
    outcomes: dict[str, Outcome] = {}
    tensors: dict[str, torch.Tensor] = {}
    if options.train_gpt:
        tensors |= train_gpt(work, training, held_out, outcomes, refusals)
    if options.train_s2mel:
        training, held_out = (with_latents(work, some, tensors) for some in (training, held_out))
        tensors |= train_s2mel(work, training, held_out, outcomes)
    if not tensors:
        raise ValueError("nothing was trained: no clip has a text, and train_s2mel is false")
    if not work.processes.is_first:
        return folder / "result"
    logger.info("writing the archive")
    export = Export(options, tensors, outcomes, dataset, clips, refusals, how, training, held_out)
    return write_archive(service, folder, export)


def obtain(work: Work) -> tuple[Dataset, list[str]]:
    """The data set in the folder `raw`, which is there whole or not at all, and what of it could not be had."""
    raw, partial = work.folder / RAW, work.folder / RAW_PARTIAL
    notes = work.folder / RAW_PROBLEMS
    if not raw.exists():
        if work.options.wav_urls is not None:
            urls = read_urls(work.options.wav_urls)
            problems = fetch_all(urls, partial)
        else:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            problems = unpack(work.options.dataset, partial)
        notes.write_text("\n".join(problems), "utf-8")
        os.replace(partial, raw)
    dataset = read_dataset(raw)
    logger.info("%d recordings (%s)", len(dataset.recordings), dataset.form)
    return dataset, [*filter(None, notes.read_text("utf-8").split("\n")), *dataset.problems]


def prepare(work: Work, dataset: Dataset) -> tuple[list[Clip], list[Refusal]]:
    """The clips that can be trained on. Raises ValueError when there are too few."""
    denoiser = work.service.references.denoiser
    if work.options.enhance_audio and denoiser is None:
        raise ValueError(
            "enhance_audio needs the denoiser's weights (MossFormer2_SE_48K), which this model directory does not hold"
        )
    preparation = Preparation(
        work.service.model.config.audio.sample_rate,
        denoiser if work.options.enhance_audio else None,
        work.options.trim_silence,
    )
    clips, refusals = prepare_clips(dataset.recordings, work.folder, preparation)
    if len(clips) < MIN_CLIPS:
        reasons = "; ".join(f"{refusal.source}: {refusal.reason}" for refusal in refusals[:3])
        raise ValueError(
            f"{len(clips)} clips of {len(dataset.recordings)} recordings can be trained on; needed: {MIN_CLIPS}"
            + (f" ({reasons})" if reasons else "")
        )
    logger.info("%d clips, %.1f minutes", len(clips), sum(clip.seconds for clip in clips) / 60)
    return clips, refusals


def split(examples: Sequence[Example], options: Options) -> tuple[list[Example], list[Example]]:
    """Trained on, and held out: whole recordings, at random by the seed; at least one of each, or none held out."""
    sources = sorted({example.clip.source for example in examples})
    count = min(math.ceil(options.validation_share * len(sources)), len(sources) - 1)
    chosen = np.random.default_rng(options.seed).permutation(len(sources))[:count]
    held = {sources[index] for index in chosen}
    return [e for e in examples if e.clip.source not in held], [e for e in examples if e.clip.source in held]


def train_gpt(
    work: Work,
    training: Sequence[Example],
    held_out: Sequence[Example],
    outcomes: dict[str, Outcome],
    refusals: list[Refusal],
) -> dict[str, torch.Tensor]:
    """The GPT's part of the adapter; empty where there are too few texts."""
    trained = make_trained(work, ["gpt"])
    losses = GPTLosses(trained.model, training, work.options.batch_seconds / work.options.passes())
    if len(losses.examples) < MIN_CLIPS:
        refusals.append(
            Refusal("GPT", f"not trained: {len(losses.examples)} clips have a text; needed: {MIN_CLIPS}")
        )
        return {}
    outcome = work.processes.train(
        trained,
        losses,
        run_of(work, losses.examples),
        work.folder / "gpt",
        validation(trained, held_out, GPTLosses),
    )
    outcomes["gpt"] = outcome
    return trained.tensors(outcome.average)


def train_s2mel(
    work: Work, training: Sequence[Example], held_out: Sequence[Example], outcomes: dict[str, Outcome]
) -> dict[str, torch.Tensor]:
    parts = ["dit"] if work.options.method == "lora" else ["dit", "latent_projection"]
    trained = make_trained(work, parts)
    losses = FlowLosses(trained.model, training, work.options.batch_seconds / work.options.passes())
    outcome = work.processes.train(
        trained,
        losses,
        run_of(work, training),
        work.folder / "s2mel",
        validation(trained, held_out, FlowLosses),
    )
    outcomes["s2mel"] = outcome
    return trained.tensors(outcome.average)


def make_trained(work: Work, parts: list[str]) -> Trained:
    trained = Trained(work.service.model, work.options.method, parts, work.options.seed)
    save_memory(trained)
    return trained


def run_of(work: Work, examples: Sequence[Example]) -> Run:
    """As many steps as were asked for, or as go through the clips so often."""
    options, device = work.options, work.service.model.device
    steps = options.steps or DEFAULT_STEPS
    if options.epochs is not None:
        seconds = sum(example.seconds for example in examples)
        steps = max(1, round(options.epochs * seconds / options.batch_seconds))
    half = device.type == "cuda"
    return Run.of(options.seed, steps, options.rate(), options.passes(), work.processes.count, half)


def validation(
    trained: Trained, held_out: Sequence[Example], kind: type[GPTLosses] | type[FlowLosses]
) -> Callable[[], float] | None:
    """The mean loss of the held-out clips, always with the same draws; None where none can be used."""
    if not held_out:
        return None
    losses = kind(trained.model, held_out)
    if not losses.examples:
        return None

    @torch.no_grad()
    def measure() -> float:
        values = [
            float(losses.of([example], np.random.default_rng((VALIDATION_SEED, index, draw)))["loss"])
            for index, example in enumerate(losses.examples)
            for draw in range(VALIDATION_DRAWS)
        ]
        return sum(values) / len(values)

    return measure


def with_latents(work: Work, examples: Sequence[Example], tensors: dict[str, torch.Tensor]) -> list[Example]:
    """The examples with the latents of the GPT as it is now, of those that have a text; computed once."""
    model = work.service.model
    if tensors:
        model = adapted(model, Adapter(work.options.method, tensors))
    paths = {id(e): feature_path(work.folder, e.clip).with_suffix(f".{LATENTS}") for e in examples}
    with work.processes.first_alone():
        for example in examples:
            if example.ids is not None and not paths[id(example)].exists():
                write(paths[id(example)], {LATENTS: gpt_latents(model, example)})
    return [
        example
        if example.ids is None
        else replace(example, tensors={**example.tensors, **safetensors.torch.load_file(paths[id(example)])})
        for example in examples
    ]
