"""What can be said of a reference clip: numbers, and warnings in plain words.

Axes: T samples, F frames of a spectrum.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from enhance.audio_input.read import Audio
from enhance.levels import SILENCE, decibels, frame_power
from enhance.speech import noise_and_snr, speech_blocks
from enhance.window import choose_window

__all__ = ["ReferenceReport", "bandwidth", "choose_window", "judge"]

SPECTRUM_SECONDS = 0.032
SPECTRUM_CHUNK = 256  # frames transformed at a time
BAND_HZ = 100.0  # the spectrum is smoothed over this
BANDWIDTH_DB = (
    50.0  # under its highest band there is nothing more to hear; resampling leaves images at -50 dB
)

# Where a warning begins.
CLIPPED_SHARE = 0.001
NOISY_SNR_DB = 15.0
LITTLE_SPEECH = 0.3
NARROW_HZ = 6_000.0
QUIET_PEAK = 0.05
DC_OFFSET = 0.02
SHORT_SECONDS = 3.0


@dataclass(frozen=True)
class ReferenceReport:
    """Of the part of the clip that is used, unless said otherwise.

    seconds, start_seconds: of that part; source_seconds: of the whole file
    declared_seconds: what the file's header promises; None where it does not say
    bandwidth_hz: highest frequency with sound, 0 for silence
    peak: highest absolute sample, full scale 1
    clipped_share: 0-1, of all samples of the file
    noise_floor_db: background power, full scale being 0 dB
    snr_db: power less background, over background: -10 to 60
    speech_share: 0-1, time in which something stands out from the background
    dc_offset: mean sample
    was_cut: only a part of the file is used
    file_cut_off: the file ends before its header says
    notes: what reading the file had to say, a sentence each
    """

    seconds: float
    start_seconds: float
    source_seconds: float
    declared_seconds: float | None
    sample_rate: int
    bandwidth_hz: float
    peak: float
    clipped_share: float
    noise_floor_db: float
    snr_db: float
    speech_share: float
    dc_offset: float
    was_cut: bool
    file_cut_off: bool
    notes: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float | bool]:
        """The numbers that are known, by field name."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != "notes"}

    @property
    def warnings(self) -> list[str]:
        """What the user should know, a sentence each: what is so, what follows, what to do."""
        if self.bandwidth_hz == 0:
            return ["The reference is silent: nothing can be cloned from it.", *self.notes]
        warnings = list(self.notes)
        if self.clipped_share > CLIPPED_SHARE:
            warnings.append(
                f"{100 * self.clipped_share:.1f} % of samples are clipped: the voice will sound distorted; "
                "record at a lower level."
            )
        if self.snr_db < NOISY_SNR_DB:
            warnings.append(
                f"The background is only {max(0.0, self.snr_db):.0f} dB under the voice and will be cloned "
                "with it: denoise, or record in a quieter place."
            )
        if self.speech_share < LITTLE_SPEECH:
            warnings.append(
                f"Only {100 * self.speech_share:.0f} % of the reference is speech: leave out pauses and "
                "noise."
            )
        if self.bandwidth_hz < NARROW_HZ:
            warnings.append(
                f"There is no sound above {self.bandwidth_hz / 1000:.1f} kHz: the voice will be muffled, "
                "as on the telephone."
            )
        if self.peak < QUIET_PEAK:
            warnings.append(
                f"The reference is very quiet, its peak is {100 * self.peak:.1f} % of full scale: record "
                "at a higher level."
            )
        if abs(self.dc_offset) > DC_OFFSET:
            warnings.append(
                f"The samples lie {self.dc_offset:+.3f} off zero (DC offset): the recording device is faulty."
            )
        if self.seconds < SHORT_SECONDS:
            warnings.append(
                f"Only {self.seconds:.1f} s of reference: the voice will be less alike; 5 to 15 s are best."
            )
        if self.was_cut:
            warnings.append(
                f"Of {self.source_seconds:.1f} s of reference, {self.start_seconds:.1f} to "
                f"{self.start_seconds + self.seconds:.1f} s are used."
            )
        if self.file_cut_off:
            warnings.append(
                f"The file is cut off: its header promises {self.declared_seconds:.1f} s, "
                f"{self.source_seconds:.1f} s are there."
            )
        return warnings


def judge(audio: Audio, window: tuple[int, int] | None = None) -> ReferenceReport:
    """Measure `audio`, or the samples of `window` (start, end) of it."""
    start, end = window or (0, audio.samples.shape[1])
    samples, rate = audio.samples[:, start:end], audio.sample_rate
    power = frame_power(samples, rate)
    noise, snr = noise_and_snr(power)
    low, high = torch.aminmax(samples)
    return ReferenceReport(
        seconds=samples.shape[1] / rate,
        start_seconds=start / rate,
        source_seconds=audio.seconds,
        declared_seconds=audio.declared_seconds,
        sample_rate=rate,
        bandwidth_hz=bandwidth(samples, rate),
        peak=max(-low.item(), high.item()),
        clipped_share=audio.clipped_share,
        noise_floor_db=decibels(noise),
        snr_db=snr,
        speech_share=speech_blocks(power).float().mean().item(),
        dc_offset=samples.mean().item(),
        was_cut=samples.shape[1] < audio.samples.shape[1],
        file_cut_off=audio.cut_off,
        notes=audio.notes,
    )


def bandwidth(samples: Tensor, sample_rate: int) -> float:
    """Highest frequency in Hz at which [1, T] still has sound; 0 for silence."""
    n_fft = 2 ** round(math.log2(SPECTRUM_SECONDS * sample_rate))
    wave = F.pad(samples[0] - samples.mean(), (0, max(0, n_fft - samples.shape[1])))
    window = torch.hann_window(n_fft, device=wave.device)
    frames = wave.unfold(0, n_fft, n_fft // 2)  # [F, n_fft]
    spectrum = sum(
        torch.fft.rfft(chunk * window).abs().square().sum(dim=0) for chunk in frames.split(SPECTRUM_CHUNK)
    )
    width = max(1, round(BAND_HZ * n_fft / sample_rate)) // 2 * 2 + 1
    smooth = F.avg_pool1d(spectrum[None, None], width, stride=1, padding=width // 2, count_include_pad=False)[
        0, 0
    ]
    if smooth.max() / len(frames) / n_fft <= SILENCE:
        return 0.0
    return (smooth > smooth.max() * 10 ** (-BANDWIDTH_DB / 10)).nonzero().max().item() * sample_rate / n_fft
