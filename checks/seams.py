"""Whether one hears where a segment spoken in pieces is joined: `python -m checks.seams [--joins N]`.

The same codes are spoken in pieces, as a whole, and as a whole from another noise. Around each join:
* the distance of log-mel spectra (40 ms on both sides) to the whole's stays within that of the two wholes, in the mean;
* no click: the greatest second difference of the samples is within what the whole has (its 99.9th percentile, doubled);
* pitch: the step from before to after is no greater than the whole's at the same places, in the mean, plus a semitone.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from checks.engine import SENTENCES
from pipeline.audio import log_mel
from pipeline.gpt.decode import Decoded
from pipeline.pieces import MOST_CODES, Pieces
from pipeline.synthesize import Delivery, Draft
from pipeline.text.prepare import TextSegment
from service.prepared import Prepared
from service.request import Request
from service.service import Service
from service.settings import Settings

SPEAKER = Path(__file__).resolve().parent.parent / "examples/speaker.wav"
AROUND_FRAMES = 4
AROUND_SECONDS = 0.05
PITCH_HZ = (70.0, 400.0)
VOICED = 0.6  # least autocorrelation of speech that has a pitch
SEMITONE = 1.0


@dataclass(frozen=True)
class Join:
    spectrum: float  # to the whole
    seeds: float  # of the two wholes, there
    click: float  # of what is allowed
    pitch: float | None  # step in semitones; None where there is none
    pitch_whole: float | None


def pitch(wave: Tensor, rate: int) -> float | None:
    """Hz of a voiced stretch [T] by autocorrelation."""
    wave = wave - wave.mean()
    spectrum = torch.fft.rfft(wave, 2 * len(wave)).abs().square()
    correlation = torch.fft.irfft(spectrum)[: len(wave)]
    correlation = correlation / (len(wave) - torch.arange(len(wave))).clamp(min=1)
    low, high = round(rate / PITCH_HZ[1]), round(rate / PITCH_HZ[0])
    if len(wave) <= high or correlation[0] <= 0:
        return None
    best = int(correlation[low:high].argmax()) + low
    return rate / best if correlation[best] / correlation[0] >= VOICED else None


def step(wave: Tensor, place: int, rate: int) -> float | None:
    """Semitones from the pitch before `place` to that after."""
    size = round(AROUND_SECONDS * rate)
    before, after = pitch(wave[place - size : place], rate), pitch(wave[place : place + size], rate)
    return abs(12 * math.log2(after / before)) if before and after else None


def in_pieces(
    service: Service, decoded: Decoded, delivery: Delivery, prepared: Prepared
) -> tuple[Tensor, list[int]]:
    """The wave, and where in it pieces are joined."""
    pieces = Pieces(service.synthesizer, delivery, torch.Generator().manual_seed(1), prepared.watch)
    waves, places = [], []
    for count in range(len(decoded.codes) + 1):
        last = count == len(decoded.codes)
        if last or pieces.wants(count):
            so_far = Decoded(decoded.codes[:count], decoded.latents[:count], last and decoded.stopped)
            waves.append(pieces.speak(so_far, last))
            places.append(sum(map(len, waves)))
    return torch.cat(waves), places[:-1]


def joins_of(service: Service, text: str, seed: int) -> list[Join]:
    prepared = service.prepare(Request(text, SPEAKER, seed=seed))
    synthesizer, delivery, audio = service.synthesizer, prepared.delivery, service.model.config.audio
    segment = next(part for part in prepared.script if isinstance(part, TextSegment))
    decoded = synthesizer.draft(segment, delivery, seed, prepared.watch).decoded
    wholes = [
        synthesizer.render(
            Draft(decoded, torch.Generator().manual_seed(noise), seed), delivery, prepared.watch
        ).wave
        for noise in (1, 2)
    ]
    wave, places = in_pieces(service, decoded, delivery, prepared)
    mels = [log_mel(each[None], audio)[0] for each in (wave, *wholes)]
    allowed = 2 * float(wholes[0].diff(n=2).abs().quantile(0.999))
    found = []
    for place in places:
        near = slice(
            max(0, place // audio.hop_length - AROUND_FRAMES), place // audio.hop_length + AROUND_FRAMES
        )
        ours, whole, other = (mel[:, near] for mel in mels)
        around = wave[place - 8 : place + 8].diff(n=2).abs().max()
        found.append(
            Join(
                float((ours - whole).square().mean().sqrt()),
                float((other - whole).square().mean().sqrt()),
                float(around) / allowed,
                step(wave, place, audio.sample_rate),
                step(wholes[0], place, audio.sample_rate),
            )
        )
    return found


def mean(values) -> float:
    values = [value for value in values if value is not None]
    return sum(values) / max(1, len(values))


def main() -> int:
    parser = argparse.ArgumentParser(prog="checks.seams", description=__doc__.splitlines()[0])
    parser.add_argument("--joins", type=int, default=200)
    options = parser.parse_args()
    service = Service(Settings.read())
    found: list[Join] = []
    seed = 0
    while len(found) < options.joins:
        found += joins_of(service, SENTENCES[seed % len(SENTENCES)], seed)
        seed += 1
    spectrum, seeds = mean(j.spectrum for j in found), mean(j.seeds for j in found)
    clicks = sum(j.click > 1 for j in found)
    ours, whole = mean(j.pitch for j in found), mean(j.pitch_whole for j in found)
    good = spectrum <= seeds and not clicks and ours <= whole + SEMITONE
    print(
        f"{len(found)} joins, pieces of up to {MOST_CODES} codes: spectral distance to the whole {spectrum:.3f} "
        f"(two noises: {seeds:.3f}); clicks {clicks} (greatest {max(j.click for j in found):.2f} of what is allowed); "
        f"pitch steps {ours:.2f} semitones (the whole: {whole:.2f})\n{'passed' if good else 'FAILED'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
