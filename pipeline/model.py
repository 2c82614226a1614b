"""All modules of one model, loaded."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline import gpu
from pipeline.checkpoints import BARE_TENSOR, LAYOUTS
from pipeline.conditioning.codec import SemanticCodec
from pipeline.conditioning.semantic import SemanticEncoder
from pipeline.conditioning.speaker import CAMPPlus
from pipeline.conditioning.w2vbert import W2VBert
from pipeline.config import ModelConfig
from pipeline.gpt.model import UnifiedVoice
from pipeline.loading import State, checkpoint_path, is_constant, is_mapped, load_module, read_checkpoint
from pipeline.memory import release_file, trim
from pipeline.precision import apply_precision
from pipeline.precisions import DEFAULT_PRECISION, check_precision
from pipeline.s2mel.dit import DiT, FlowEstimator
from pipeline.s2mel.regulator import LengthRegulator, make_latent_projection
from pipeline.state_dict import CheckpointError
from pipeline.vocoder.bigvgan import BigVGAN

logger = logging.getLogger(__name__)

# (checkpoint, section) -> how its module is made, where the model's layout has that section
MODULES: Mapping[tuple[str, str], Callable[[ModelConfig], nn.Module]] = {
    ("semantic", ""): lambda c: W2VBert(c.semantic),
    ("codec", ""): lambda c: SemanticCodec(c.codec),
    ("speaker", ""): lambda c: CAMPPlus(c.speaker),
    ("gpt", ""): lambda c: UnifiedVoice(c.gpt, c.semantic.hidden_size, style_size=c.speaker.style_dim),
    ("s2mel", "gpt_layer"): lambda c: make_latent_projection(
        c.gpt.model_dim, c.s2mel.latent_widths, c.codec.hidden_size
    ),
    ("s2mel", "length_regulator"): lambda c: LengthRegulator(c.s2mel.regulator),
    ("s2mel", "cfm"): lambda c: FlowEstimator(c.s2mel.dit, c.s2mel.wavenet),
    ("vocoder", ""): lambda c: BigVGAN(c.vocoder),
}
FINGERPRINT_SAMPLES = 64  # values per tensor


@dataclass(frozen=True)
class FileLoad:
    """What loading one checkpoint took."""

    file: str
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Model:
    """The loaded modules on one device. `fingerprint` names these weights, whatever their file format
    and the precision they are run in."""

    config: ModelConfig
    device: torch.device
    semantic: SemanticEncoder
    codec: SemanticCodec
    speaker: CAMPPlus
    gpt: UnifiedVoice
    latent_projection: nn.Sequential | None  # None: s2mel does not read the GPT's latents
    regulator: LengthRegulator
    dit: DiT
    vocoder: BigVGAN
    speaker_matrix: Tensor  # [rows, style_dim]
    emotion_matrix: Tensor  # [rows, model_dim]
    fingerprint: str
    precision: str = "exact"  # of PRECISIONS
    loads: tuple[FileLoad, ...] = ()
    adapter: str = ""  # sha256 of the adapter it was given (pipeline.adapter)


def load_model(
    directory: Path,
    config: ModelConfig,
    device: torch.device | str = "cpu",
    precision: str = DEFAULT_PRECISION,
    packed: bool = True,
) -> Model:
    """Load every checkpoint of `directory`, memory-mapped, straight to `device`, in `precision`; not `packed`: as
    plain modules, which can be trained.

    Raises CheckpointError naming the file and the keys that are missing or misshapen, ValueError for a precision that
    is none."""
    check_precision(precision)
    device = torch.device(device)
    device = torch.device(device)
    if device.type == "cuda":
        gpu.allow_tf32(precision != "exact")
    checkpoints = LAYOUTS[config.layout]
    files = {name: checkpoint_path(directory, checkpoint) for name, checkpoint in checkpoints.items()}
    absent = [checkpoints[name].file for name, path in files.items() if not path.is_file()]
    if absent:
        raise CheckpointError(f"model directory {directory} lacks {', '.join(absent)}")
    read_ahead(list(files.values()))
    digest = hashlib.sha256()
    modules: dict[tuple[str, str], nn.Module] = {}
    tensors: dict[str, dict[str, Tensor]] = {}
    loads = []
    for name, path in files.items():
        start = time.perf_counter()
        for section, state in read_checkpoint(directory, checkpoints[name]).items():
            update_digest(digest, state)
            if (name, section) in MODULES:
                make = partial(MODULES[name, section], config)
                half = gpu.load_dtype(precision, name, config.gpt.half)
                dtype = torch.float32 if device.type == "cpu" else half
                module = modules[name, section] = load_module(make, state, device, dtype)
                if device.type == "cpu" and packed:
                    apply_precision(precision, name, module, mapped=is_mapped(path))
                else:
                    gpu.apply_precision(precision, module)
            else:
                tensors[name] = {key: value.to(device, torch.float32) for key, value in state.tensors.items()}
        del state
        release_file(path)
        trim()
        loads.append(FileLoad(path.name, path.stat().st_size, time.perf_counter() - start))
        logger.info("%s: %.0f MB in %.2f s", path.name, loads[-1].bytes / 1e6, loads[-1].seconds)
    check_tables(tensors, config)
    stats = tensors["semantic_stats"]
    semantic = SemanticEncoder(
        config.semantic, modules["semantic", ""], stats["mean"], stats["var"], config.reference.sample_rate
    )
    return Model(
        config=config,
        device=device,
        semantic=semantic,
        codec=modules["codec", ""],
        speaker=modules["speaker", ""],
        gpt=modules["gpt", ""],
        latent_projection=modules.get(("s2mel", "gpt_layer")),
        regulator=modules["s2mel", "length_regulator"],
        dit=modules["s2mel", "cfm"].estimator,
        vocoder=modules["vocoder", ""],
        speaker_matrix=tensors["speaker_matrix"][BARE_TENSOR],
        emotion_matrix=tensors["emotion_matrix"][BARE_TENSOR],
        fingerprint=digest.hexdigest(),
        precision=precision,
        loads=tuple(loads),
    )


def read_ahead(files: list[Path]) -> None:
    """Ask the system to read `files` now, in order, so that the disk works on the next file while this
    process puts the last one on its device."""
    for path in files:
        with path.open("rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def check_tables(tensors: Mapping[str, Mapping[str, Tensor]], config: ModelConfig) -> None:
    rows = sum(config.emotion.rows)
    wanted = {
        ("semantic_stats", "mean"): (config.semantic.hidden_size,),
        ("semantic_stats", "var"): (config.semantic.hidden_size,),
        ("speaker_matrix", BARE_TENSOR): (rows, config.speaker.style_dim),
        ("emotion_matrix", BARE_TENSOR): (rows, config.gpt.model_dim),
    }
    for (name, key), shape in wanted.items():
        tensor = tensors[name].get(key)
        if tensor is None or tuple(tensor.shape) != shape:
            found = "missing" if tensor is None else list(tensor.shape)
            file = LAYOUTS[config.layout][name].file
            raise CheckpointError(f"{file}: {key} is {found}, expected {list(shape)}")


def update_digest(digest, state: State) -> None:
    """Add a sample of every tensor that is stored alike whether weight norm is folded or not."""
    for key in sorted(state.tensors):
        folded = key.removesuffix("_g").removesuffix("_v")
        if is_constant(key) or any(re.match(p, folded) for p in state.section.weight_norm):
            continue
        flat = state.tensors[key].flatten()
        sample = flat[:: max(1, len(flat) // FINGERPRINT_SAMPLES)][:FINGERPRINT_SAMPLES]
        digest.update(key.encode())
        digest.update(sample.to(torch.float16).numpy().tobytes())


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
