"""Many speakers out of flite's four voices: each a fixed pitch, formant, rate and timbre change of one voice."""

import dataclasses
import math
import random

VARIANTS_PER_VOICE = 20
PITCH_LIMITS = (75.0, 280.0)  # Hz: beyond them flite's vocoder buzzes or breaks
FORMANT_LIMITS = (0.86, 1.18)  # a child to a giant is wider, but intelligibility suffers
RATE_LIMITS = (0.85, 1.2)
TILT_LIMIT = 4.0  # dB
PITCH_SPREAD = 0.18  # standard deviation of log pitch around what the formants suggest


@dataclasses.dataclass(frozen=True)
class Voice:
    """A flite voice: its own median pitch and the pitch deviation it is asked for, in Hz."""

    name: str
    pitch: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A voice and what is done to it. `formant` scales every frequency but the pitch, which is `pitch` Hz after it;
    `rate` > 1 is faster; `tilt` dB is added above 1.5 kHz; `deviation` Hz is the pitch's."""

    name: str
    voice: str
    pitch: float
    deviation: float
    formant: float = 1.0
    rate: float = 1.0
    tilt: float = 0.0

    @property
    def pure(self) -> bool:
        """Whether this is a flite voice as it comes."""
        return self.name == self.voice


VOICES = (
    Voice("slt", 170.0, 11.0),
    Voice("rms", 100.0, 13.0),
    Voice("awb", 127.0, 14.0),
    Voice("kal16", 92.0, 9.0),
)


def make_speakers(seed: int, variants: int = VARIANTS_PER_VOICE) -> list[Speaker]:
    """The four pure voices, then `variants` of each. Formants and rates are spread evenly, the rest is drawn."""
    rng = random.Random(seed)
    speakers = [Speaker(voice.name, voice.name, voice.pitch, voice.deviation) for voice in VOICES]
    for voice in VOICES:
        rates = [_between(RATE_LIMITS, (index + 0.5) / variants) for index in range(variants)]
        rng.shuffle(rates)
        for index, rate in enumerate(rates):
            formant = _between(FORMANT_LIMITS, (index + rng.random()) / variants)
            wanted = voice.pitch * formant**1.5 * math.exp(rng.gauss(0, PITCH_SPREAD))
            pitch = min(max(wanted, PITCH_LIMITS[0]), PITCH_LIMITS[1])
            speakers.append(
                Speaker(
                    f"{voice.name}-{index:02d}",
                    voice.name,
                    round(pitch, 1),
                    round(voice.deviation * pitch / voice.pitch * rng.uniform(0.6, 1.5), 1),
                    round(formant, 3),
                    round(rate, 3),
                    round(rng.uniform(-TILT_LIMIT, TILT_LIMIT), 1),
                )
            )
    return speakers


def _between(limits: tuple[float, float], share: float) -> float:
    """Geometric interpolation between two positive limits."""
    return limits[0] * (limits[1] / limits[0]) ** share
