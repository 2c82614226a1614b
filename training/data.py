"""Datasets: a manifest of wav, text and speaker, and the check that keeps bad files out of a training.

A manifest is a JSON-lines file next to its audio: `{"audio": "a/1.wav", "text": "Hello.", "speaker": "a"}`, and
optionally `"phones": [["h", 0.12], …]` (phone and its end in seconds) and `"index": 7`.
"""

import dataclasses
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import soundfile
import torch

from enhance.audio_input.read import AudioError, AudioLimits, read_audio
from pipeline.audio import resample

MANIFEST = "manifest.jsonl"
LIMITS = AudioLimits(min_seconds=0.3, max_seconds=40.0)
SILENT_PEAK = 0.003  # about -50 dBFS
CLIPPED_SHARE = 0.002  # of all samples
LISTED_REJECTIONS = 20  # the log names this many files, the rest is counted
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Clip:
    """One line of a manifest; `phones` is None where the manifest gives none, `index` its number if it has one."""

    path: Path
    text: str
    speaker: str
    phones: tuple[tuple[str, float], ...] | None = None
    index: int | None = None


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A clip that is not trained on, and why, in words for the user."""

    where: str
    reason: str


def read_manifest(manifest: Path) -> tuple[list[Clip], list[Rejection]]:
    """The clips a manifest lists. Lines that are no JSON or lack audio, text or speaker are rejected by number."""
    clips, rejected = [], []
    try:
        lines = manifest.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the manifest {manifest}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            phones = record.get("phones")
            clips.append(
                Clip(
                    manifest.parent / record["audio"],
                    str(record["text"]).strip(),
                    str(record["speaker"]),
                    phones and tuple((str(phone), float(end)) for phone, end in phones),
                    record.get("index"),
                )
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            rejected.append(
                Rejection(f"line {number}", f"not a manifest line ({type(error).__name__}: {error})")
            )
    return clips, rejected


def read_wave(path: Path) -> tuple[np.ndarray, int]:
    """Mono float32 samples [samples] and the sample rate; ValueError for a file that is no readable audio."""
    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"cannot read {path.name}: {error}") from error
    return wave.mean(axis=1), rate


def read_wave_at(path: Path, rate: int) -> np.ndarray:
    """Mono float32 samples [samples] at `rate`; ValueError as `read_wave`."""
    wave, found = read_wave(path)
    return wave if found == rate else resample(torch.from_numpy(wave)[None], found, rate)[0].numpy()


def reason_to_reject(clip: Clip, seen: dict[str, str]) -> str | None:
    """Why this clip must not be trained on, or None. `seen` maps audio digests to names and grows by this clip."""
    if not any(character.isalnum() for character in clip.text):
        return "has no text"
    try:
        audio = read_audio(clip.path, LIMITS)
    except AudioError as error:
        return str(error)
    wave = audio.samples[0]
    if wave.abs().max() < SILENT_PEAK:
        return f"is silent (peak {wave.abs().max():.4f}, needed: {SILENT_PEAK})"
    if audio.clipped_share > CLIPPED_SHARE:
        return f"is clipped ({audio.clipped_share:.1%} of its samples at full scale, allowed: {CLIPPED_SHARE:.1%})"
    digest = hashlib.sha1(wave.numpy().tobytes()).hexdigest()
    if digest in seen:
        return f"duplicates {seen[digest]}"
    seen[digest] = clip.path.name
    return None


def usable_clips(manifest: Path, minimum: int = 1) -> tuple[list[Clip], list[Rejection]]:
    """The clips of a manifest that can be trained on and the rejected ones with their reasons, which are logged.

    ValueError when fewer than `minimum` clips remain.
    """
    clips, rejected = read_manifest(manifest)
    seen: dict[str, str] = {}
    usable = []
    for clip in clips:
        reason = reason_to_reject(clip, seen)
        if reason is None:
            usable.append(clip)
        else:
            rejected.append(Rejection(clip.path.name, reason))
    for rejection in rejected[:LISTED_REJECTIONS]:
        logger.warning("%s left out: %s", rejection.where, rejection.reason)
    if len(rejected) > LISTED_REJECTIONS:
        logger.warning("%d more files left out", len(rejected) - LISTED_REJECTIONS)
    logger.info("%s: %d clips usable, %d left out", manifest.name, len(usable), len(rejected))
    if len(usable) < minimum:
        raise ValueError(
            f"{manifest} has {len(usable)} usable clips ({len(rejected)} left out), needed: {minimum}"
        )
    return usable, rejected
