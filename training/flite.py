"""Speech from flite with its phone timings, changed into a given speaker's voice."""

import dataclasses
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from training.speakers import Speaker

SAMPLE_RATE = 16_000
SILENCE = "pau"
PHONES = [
    "pau",
    "aa",
    "ae",
    "ah",
    "ao",
    "aw",
    "ax",
    "ay",
    "b",
    "ch",
    "d",
    "dh",
    "eh",
    "er",
    "ey",
    "f",
    "g",
    "hh",
    "ih",
    "iy",
    "jh",
    "k",
    "l",
    "m",
    "n",
    "ng",
    "ow",
    "oy",
    "p",
    "r",
    "s",
    "sh",
    "t",
    "th",
    "uh",
    "uw",
    "v",
    "w",
    "y",
    "z",
    "zh",
]
LEVEL = 0.07  # root mean square of the speech, full scale 1
PEAK = 0.95
EDGE_SILENCE = 0.12  # s kept before the first and after the last phone
RATIO_STEPS = 200  # formant factors are rounded to 1/200, so that resampling is by small integers
TILT_CORNER = 1_500.0  # Hz
TIMEOUT = 60  # s


@dataclasses.dataclass(frozen=True)
class Utterance:
    """`wave`: [samples] float32 at `SAMPLE_RATE`; `phones`: (phone, end in seconds), the first starts at 0."""

    wave: np.ndarray
    phones: list[tuple[str, float]]


def speak(text: str, speaker: Speaker) -> Utterance:
    """`text` in the speaker's voice, silence at both ends shortened, level fixed.

    RuntimeError if flite is missing, fails, or yields no speech.
    """
    stretched = round(speaker.formant * RATIO_STEPS) / RATIO_STEPS
    wave, phones = _run_flite(text, speaker, stretched)
    if stretched != 1.0:
        # Played faster by `stretched`, every frequency rises by it; flite was asked for a lower pitch and slower speech.
        wave = scipy.signal.resample_poly(wave, RATIO_STEPS, round(stretched * RATIO_STEPS))
        phones = [(phone, end / stretched) for phone, end in phones]
    wave = _tilt(wave, speaker.tilt)
    wave, phones = _trim(wave, phones)
    level = float(np.sqrt(np.mean(wave**2)))
    gain = min(LEVEL / max(level, 1e-6), PEAK / max(float(np.abs(wave).max()), 1e-6))
    return Utterance((wave * gain).astype(np.float32), phones)


def _run_flite(text: str, speaker: Speaker, stretched: float) -> tuple[np.ndarray, list[tuple[str, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", speaker.voice, "-psdur", "-o", str(path)]
        if not speaker.pure:
            for name, value in (
                ("int_f0_target_mean", speaker.pitch / stretched),
                ("int_f0_target_stddev", speaker.deviation / stretched),
                ("duration_stretch", stretched / speaker.rate),
            ):
                command += ["--setf", f"{name}={value:.4f}"]
        try:
            done = subprocess.run(
                [*command, "-t", text], capture_output=True, text=True, timeout=TIMEOUT, check=True
            )
            wave, rate = soundfile.read(path, dtype="float32")
        except FileNotFoundError as error:
            raise RuntimeError("flite is not installed (Debian package flite)") from error
        except (subprocess.SubprocessError, soundfile.SoundFileError) as error:
            raise RuntimeError(f"flite failed on {text!r}: {error}") from error
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"flite voice {speaker.voice} speaks at {rate} Hz, needed: {SAMPLE_RATE}")
    segments = [segment.rsplit(":", 1) for segment in done.stdout.split()]
    phones = [(phone, float(end)) for phone, end in segments]
    if not any(phone != SILENCE for phone, _ in phones):
        raise RuntimeError(f"flite spoke nothing for {text!r}")
    unknown = {phone for phone, _ in phones} - set(PHONES)
    if unknown:
        raise RuntimeError(f"flite printed unknown phones {sorted(unknown)} for {text!r}")
    return wave, phones


def _tilt(wave: np.ndarray, decibels: float) -> np.ndarray:
    """First-order high shelf of `decibels` above `TILT_CORNER`."""
    if not decibels:
        return wave
    numerator, denominator = scipy.signal.butter(1, TILT_CORNER, "high", fs=SAMPLE_RATE)
    return wave + (10 ** (decibels / 20) - 1) * scipy.signal.lfilter(numerator, denominator, wave)


def _trim(wave: np.ndarray, phones: list[tuple[str, float]]) -> tuple[np.ndarray, list[tuple[str, float]]]:
    """Cut the pauses at both ends to `EDGE_SILENCE`."""
    ends = [end for _, end in phones]
    spoken = [index for index, (phone, _) in enumerate(phones) if phone != SILENCE]
    first = ends[spoken[0] - 1] if spoken[0] else 0.0
    start = max(first - EDGE_SILENCE, 0.0)
    stop = min(ends[spoken[-1]] + EDGE_SILENCE, len(wave) / SAMPLE_RATE)
    trimmed = wave[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
    length = len(trimmed) / SAMPLE_RATE
    kept = [(phone, round(min(end - start, length), 4)) for phone, end in phones if end > start]
    return trimmed, [pair for index, pair in enumerate(kept) if index == 0 or kept[index - 1][1] < length]
