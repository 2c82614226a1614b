"""Recordings to clips: read, cleaned, judged, trimmed, leveled and cut at silences; what cannot be used is listed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from enhance.audio_input.read import AudioError, AudioLimits, read_audio
from enhance.denoise import Denoiser
from enhance.levels import BLOCK_SECONDS, frame_power
from enhance.speech import speech_blocks
from enhance.trim import trim_silence
from finetune.dataset import Recording
from pipeline.audio import resample, write_wav
from training.data import CLIPPED_SHARE, SILENT_PEAK
from training.prepare import EDGE_SECONDS, leveled

logger = logging.getLogger(__name__)

LIMITS = AudioLimits(max_bytes=400_000_000, min_seconds=0.3, max_seconds=4 * 3600.0, decode_seconds=120.0)
MIN_SECONDS, MAX_SECONDS = 1.0, 15.0
MIN_SPEECH_SHARE = 0.1
CUT_SECONDS = 8.0  # what a long recording's clips should last, at least half and at most MAX_SECONDS
REPORT_EVERY = 50
CLIPS, OUTCOMES = "clips", "clips.jsonl"


@dataclass(frozen=True)
class Clip:
    """file: its WAV file in the work folder; source: the recording it is of; text: what is said in it, None where
    that is not known."""

    file: str
    source: str
    seconds: float
    text: str | None


@dataclass(frozen=True)
class Refusal:
    """A recording, or a text of one, that is not trained on, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Preparation:
    """How recordings become clips: at which rate in Hz, denoised or not, without silence at their ends or with."""

    rate: int
    denoiser: Denoiser | None
    trim: bool


def prepare_clips(
    recordings: Sequence[Recording], folder: Path, preparation: Preparation
) -> tuple[list[Clip], list[Refusal]]:
    """The clips of all recordings, as WAV files in `folder`; goes on after the recordings that were done before."""
    (folder / CLIPS).mkdir(parents=True, exist_ok=True)
    path = folder / OUTCOMES
    done = read_outcomes(path)
    digests = {outcome["digest"]: name for name, outcome in done.items() if outcome["digest"]}
    with path.open("a", encoding="utf-8") as log:
        for number, recording in enumerate(recordings):
            if recording.name in done:
                continue
            outcome = prepare_recording(recording, number, folder, preparation, digests)
            done[recording.name] = outcome
            log.write(json.dumps({"name": recording.name, **outcome}, ensure_ascii=False) + "\n")
            log.flush()
            if (number + 1) % REPORT_EVERY == 0 or number + 1 == len(recordings):
                logger.info("%d of %d recordings prepared", number + 1, len(recordings))
    listed = [done[recording.name] for recording in recordings]
    clips = [Clip(**clip) for outcome in listed for clip in outcome["clips"]]
    refusals = [Refusal(**refusal) for outcome in listed for refusal in outcome["refusals"]]
    return clips, refusals


def read_outcomes(path: Path) -> dict[str, dict]:
    """What was done before, by recording; a last line that was cut off is as if it were not there."""
    done = {}
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                outcome = json.loads(line)
            except ValueError:
                continue
            done[outcome.pop("name")] = outcome
    return done


def prepare_recording(
    recording: Recording, number: int, folder: Path, preparation: Preparation, digests: dict[str, str]
) -> dict:
    """What became of one recording; `digests` of the ones before grows by it."""

    def refused(reason: str, digest: str = "") -> dict:
        return {"digest": digest, "clips": [], "refusals": [asdict(Refusal(recording.name, reason))]}

    try:
        audio = read_audio(recording.path, LIMITS)
    except AudioError as e:
        return refused(str(e).split("; allowed:")[0])
    samples = audio.samples
    peak = float(samples.abs().max())
    if peak < SILENT_PEAK:
        return refused(f"is silent (peak {peak:.4f}; needed: {SILENT_PEAK})")
    if audio.clipped_share > CLIPPED_SHARE:
        return refused(
            f"is clipped ({audio.clipped_share:.1%} of its samples at full scale; allowed: {CLIPPED_SHARE:.1%})"
        )
    digest = hashlib.sha256(samples.numpy().tobytes()).hexdigest()
    if digest in digests:
        return refused(f"has the samples of {digests[digest]}")
    digests[digest] = recording.name
    if preparation.denoiser is not None:
        samples = preparation.denoiser(samples, audio.sample_rate)
    samples = resample(samples, audio.sample_rate, preparation.rate)
    if preparation.trim:
        samples = trim_silence(samples, preparation.rate, EDGE_SECONDS, MIN_SECONDS)
    seconds = samples.shape[1] / preparation.rate
    if seconds < MIN_SECONDS:
        return refused(f"lasts {seconds:.2f} s; needed: {MIN_SECONDS:g} s", digest)
    refusals = []
    text = recording.text
    pieces = list(cut(samples, preparation.rate))
    if text is not None and len(pieces) > 1:
        refusals.append(
            f"lasts {seconds:.1f} s and was cut: which of its text is in which part is not known, so that its "
            f"{len(pieces)} clips train the timbre alone"
        )
        text = None
    clips = []
    for index, piece in enumerate(pieces):
        if (share := speech_share(piece, preparation.rate)) < MIN_SPEECH_SHARE:
            refusals.append(f"part {index + 1} is {share:.0%} speech; needed: {MIN_SPEECH_SHARE:.0%}")
            continue
        file = f"{CLIPS}/{number:05d}-{index:03d}.wav"
        partial = folder / f"{file}.part"
        write_wav(partial, leveled(piece, preparation.rate)[0], preparation.rate)
        os.replace(partial, folder / file)
        clips.append(asdict(Clip(file, recording.name, round(piece.shape[1] / preparation.rate, 3), text)))
    told = [asdict(Refusal(recording.name, reason)) for reason in refusals]
    return {"digest": digest, "clips": clips, "refusals": told}


def speech_share(samples: Tensor, rate: int) -> float:
    return float(speech_blocks(frame_power(samples, rate)).float().mean())


def cut(samples: Tensor, rate: int) -> Iterator[Tensor]:
    """A wave [1, T] in pieces of MIN_SECONDS to MAX_SECONDS, cut where it is quietest near CUT_SECONDS."""
    power = frame_power(samples, rate)
    block = max(1, round(BLOCK_SECONDS * rate))
    most, low, high = (round(s * rate) for s in (MAX_SECONDS, CUT_SECONDS / 2, MAX_SECONDS - MIN_SECONDS))
    start = 0
    while samples.shape[1] - start > most:
        window = power[(start + low) // block : (start + high) // block]
        distance = (torch.arange(len(window)) + 0.5) / len(window) - 0.5
        quietest = int((window.clamp_min(1e-12).log10() + distance.abs()).argmin())
        end = start + low + quietest * block
        yield samples[:, start:end]
        start = end
    if samples.shape[1] - start >= MIN_SECONDS * rate:
        yield samples[:, start:]
