"""Intelligibility by a recognizer, pitch, and the gates between stages of the small model.

pocketsphinx is a test dependency (requirements-dev.txt); nothing at inference needs it.
"""

import functools
import re
from collections.abc import Sequence

import librosa
import numpy as np
import torch

from pipeline.audio import resample

RECOGNIZER_RATE = 16_000
PITCH_RANGE = (55.0, 420.0)  # Hz
PCM_SCALE = 32_767


@functools.cache
def _recognizer():
    from pocketsphinx import Decoder  # its model takes a second to load; only measuring needs it

    return Decoder(samprate=RECOGNIZER_RATE, loglevel="FATAL")


def transcribe(wave: np.ndarray, rate: int) -> str:
    """What pocketsphinx hears in a wave [T]: lower-case words."""
    wave = resample(torch.from_numpy(wave)[None].float(), rate, RECOGNIZER_RATE)[0].clamp(-1, 1).numpy()
    recognizer = _recognizer()
    recognizer.start_utt()
    recognizer.process_raw((wave * PCM_SCALE).astype("<i2").tobytes(), full_utt=True)
    recognizer.end_utt()
    found = recognizer.hyp()
    return found.hypstr if found else ""


def words(text: str) -> list[str]:
    """Words as they are compared: lower case, letters and apostrophes."""
    return re.findall(r"[a-z']+", text.lower().replace("-", " "))


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Least number of substitutions, deletions and insertions from one to the other."""
    row = np.arange(len(heard) + 1)
    for i, word in enumerate(said, 1):
        above, row = row, np.empty_like(row)
        row[0] = i
        for j, other in enumerate(heard, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other))
    return int(row[-1])


def word_error_rate(texts: Sequence[str], transcripts: Sequence[str]) -> float:
    """Errors over all words of all texts."""
    pairs = [(words(text), words(heard)) for text, heard in zip(texts, transcripts, strict=True)]
    return sum(word_errors(*pair) for pair in pairs) / max(sum(len(said) for said, _ in pairs), 1)


def median_pitch(wave: np.ndarray, rate: int) -> float:
    """Median fundamental frequency of the voiced frames in Hz; nan if there are none."""
    pitch, voiced, _ = librosa.pyin(wave, fmin=PITCH_RANGE[0], fmax=PITCH_RANGE[1], sr=rate)
    return float(np.median(pitch[voiced])) if voiced.any() else float("nan")
