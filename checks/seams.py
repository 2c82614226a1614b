"""Whether one hears where a segment spoken in pieces is joined: `python -m checks.seams [--joins N]`.

The same codes are spoken in pieces, as a whole from the same noise (each frame has the noise it has in the
pieces), and as a whole from another noise. Around each join:
* the distance of log-mel spectra (40 ms on both sides) to the whole's stays within that of the two wholes, in
  the mean. What it is to the whole of the other noise is told: without any seam it would be that of the two;
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
from pipeline.s2mel.flow import draw_noise_by_frame
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
    spectrum: float  # to the whole of the same noise
    other: float  # to the whole of the other noise
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


def in_pieces(service: Service, decoded: Decoded, prepared: Prepared, noise: int) -> tuple[Tensor, list[int]]:
    """The wave, and where in it pieces are joined; noise: its seed."""
    generator = torch.Generator().manual_seed(noise)
    pieces = Pieces(service.synthesizer, prepared.delivery, generator, prepared.watch)
    waves, places = [], []
    for count in range(len(decoded.codes) + 1):
        last = count == len(decoded.codes)
        if last or pieces.wants(count):
            so_far = Decoded(decoded.codes[:count], decoded.latents[:count], last and decoded.stopped)
            waves.append(pieces.speak(so_far, last))
            places.append(sum(map(len, waves)))
    return torch.cat(waves), places[:-1]


@torch.inference_mode()
def as_whole(service: Service, decoded: Decoded, prepared: Prepared, noise: int) -> Tensor:
    """The wave of all codes at once, from the noise that each frame has in pieces."""
    synthesizer, options = service.synthesizer, prepared.delivery.options
    frames, generator = synthesizer.frames(decoded, options.speed), torch.Generator().manual_seed(noise)
    row = synthesizer.flow_row(decoded, prepared.delivery, torch.Generator(), frames)
    drawn = draw_noise_by_frame(row.noise.shape[1], frames, generator, options.noise_scale).to(row.noise)
    mel = synthesizer.solve(
        torch.cat([torch.zeros_like(row.reference_mel), drawn], dim=-1),
        row.reference_mel,
        row.condition,
        row.style,
        options.diffusion_steps,
        options.cfg_rate,
        options.time_sway,
    )
    return synthesizer.wave(mel)


def distance(one: Tensor, two: Tensor) -> float:
    return float((one - two).square().mean().sqrt())


def joins_of(service: Service, text: str, seed: int) -> list[Join]:
    prepared = service.prepare(Request(text, SPEAKER, seed=seed))
    synthesizer, audio = service.synthesizer, service.model.config.audio
    segment = next(part for part in prepared.script if isinstance(part, TextSegment))
    decoded = synthesizer.draft(segment, prepared.delivery, seed, prepared.watch).decoded
    wholes = [as_whole(service, decoded, prepared, noise) for noise in (1, 2)]
    wave, places = in_pieces(service, decoded, prepared, noise=1)
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
                distance(ours, whole),
                distance(ours, other),
                distance(other, whole),
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
    other = mean(j.other for j in found)
    clicks = sum(j.click > 1 for j in found)
    ours, whole = mean(j.pitch for j in found), mean(j.pitch_whole for j in found)
    greatest = max(j.click for j in found)
    good = spectrum <= seeds and not clicks and ours <= whole + SEMITONE
    print(
        f"{len(found)} joins, pieces of up to {MOST_CODES} codes: spectral distance to the whole {spectrum:.3f} (two "
        f"noises: {seeds:.3f}; from another noise: {other:.3f}); clicks {clicks} (greatest {greatest:.2f} of "
        f"what is allowed); pitch steps {ours:.2f} semitones (the whole: {whole:.2f})\n{'passed' if good else 'FAILED'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
