"""Where training computes: torch's default device, which `training.tiny_en --device` sets.

Modules and random numbers are made there of themselves; what is read from caches is brought there.
"""

import numpy as np
import torch
from torch import Tensor


def place(array: np.ndarray) -> Tensor:
    """An array as a tensor on the device."""
    return torch.from_numpy(array).to(torch.get_default_device())


def device_type() -> str:
    """ "cpu" or "cuda"."""
    return torch.get_default_device().type
