"""What the checks against golden values share: the weights the values were made with, the searches that are stored by
name, and the error of an array. Needs nothing that reads audio or text.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import gpu
from pipeline.checkpoints import LAYOUTS
from pipeline.config import ModelConfig
from pipeline.deterministic import deterministic_state, published_shapes
from pipeline.gpt.sampling import SamplingOptions
from pipeline.loading import NoInitialValues, State, load_module
from pipeline.model import MODULES
from pipeline.precision import apply_precision

CPU = torch.device("cpu")


def golden_module(
    config: ModelConfig, precision: str, checkpoint: str, section: str = "", device: torch.device = CPU
) -> nn.Module:
    """A module with the golden values' weights, through the loader, in `precision`."""
    make, rule = MODULES[checkpoint, section], LAYOUTS[config.layout][checkpoint].sections[section]
    with torch.device("meta"), NoInitialValues():
        shapes = {key: tuple(t.shape) for key, t in make(config).state_dict().items()}
    state = State(deterministic_state(published_shapes(shapes, rule.weight_norm)), checkpoint, rule, own=True)
    dtype = module_dtype(config, checkpoint, device, precision)
    module = load_module(lambda: make(config), state, device, dtype)
    return with_precision(module, checkpoint, device, precision)


def module_dtype(config: ModelConfig, checkpoint: str, device: torch.device, precision: str) -> torch.dtype:
    """What `load_model` reads the weights of a checkpoint as."""
    return gpu.load_dtype(precision, checkpoint, config.gpt.half) if device.type == "cuda" else torch.float32


def with_precision(module: nn.Module, checkpoint: str, device: torch.device, precision: str) -> nn.Module:
    """`module` made what `precision` says, in place."""
    if device.type == "cuda":
        gpu.apply_precision(precision, module)
    else:
        apply_precision(precision, checkpoint, module, mapped=False)
    return module


def search_options(name: str, codes: int) -> SamplingOptions:
    """A stored search of at most `codes` codes, by the parts of its name."""
    return SamplingOptions(
        do_sample=False,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_beams=3 if "beam3" in name else 1,
        repetition_penalty=1.0 if "no_penalty" in name else 10.0,
        length_penalty=1.0 if "length_penalty_1" in name else 0.0,
        max_codes=codes,
        mel_positions="trained" if "trained_positions" in name else "published",
    )


def relative(ours: Tensor | np.ndarray, wanted: Tensor | np.ndarray) -> float:
    """‖ours − wanted‖ / ‖wanted‖; infinite where they have not the same number of elements."""
    ours, wanted = (torch.as_tensor(x).detach().double().cpu().flatten() for x in (ours, wanted))
    if ours.shape != wanted.shape:
        return math.inf
    return float((ours - wanted).norm() / wanted.norm().clamp(min=1e-30))
