"""The pitch of speech."""

import librosa
import numpy as np

PITCH_RANGE = (55.0, 420.0)  # Hz


def median_pitch(wave: np.ndarray, rate: int) -> float:
    """Median fundamental frequency of the voiced frames in Hz; nan if there are none."""
    pitch, voiced, _ = librosa.pyin(wave, fmin=PITCH_RANGE[0], fmax=PITCH_RANGE[1], sr=rate)
    return float(np.median(pitch[voiced])) if voiced.any() else float("nan")
