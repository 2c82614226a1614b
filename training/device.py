"""Where training computes: torch's default device, which `training.tiny_en --device` sets.

Modules and random numbers are made there of themselves; what is read from caches is brought there.
"""

import numpy as np
import torch
from torch import Tensor, nn


def place(array: np.ndarray) -> Tensor:
    """An array as a tensor on the device."""
    return torch.from_numpy(array).to(torch.get_default_device())


def ready(module: nn.Module) -> nn.Module:
    """A module to be asked and not trained: on the device (constants that come from numpy are made on the CPU), in eval
    mode, without gradients; in place."""
    return here(module).eval().requires_grad_(False)


def here(module: nn.Module) -> nn.Module:
    """The module on the device, in place."""
    return module.to(torch.get_default_device())


def device_type() -> str:
    """ "cpu" or "cuda"."""
    return torch.get_default_device().type
