"""Many speakers out of the teachers' voices: blends of timbres, with the prosody of one voice, and pitch, formant and
rate changes."""

import dataclasses
import math
import random

KEPT_OUT = ("af_bella", "am_fenrir", "bf_emma", "bm_george")  # never trained on: they measure new voices
UNUSED = ("am_santa", "af_nicole")  # poor speech; whispers
ENGLISH = [
    "af_alloy",
    "af_aoede",
    "af_heart",
    "af_jessica",
    "af_kore",
    "af_nova",
    "af_river",
    "af_sarah",
    "af_sky",
    "am_adam",
    "am_echo",
    "am_eric",
    "am_liam",
    "am_michael",
    "am_onyx",
    "am_puck",
    "bf_alice",
    "bf_isabella",
    "bf_lily",
    "bm_daniel",
    "bm_fable",
    "bm_lewis",
]
BLENDS = 378
FAST_SPEAKERS = 200
FORMANT_LIMITS = (0.87, 1.16)
RATE_LIMITS = (0.85, 1.2)
PITCH_SPREAD = 0.10  # standard deviation of log pitch
PITCH_LIMITS = (0.78, 1.28)
FAST_PITCH_LIMITS = (0.48, 1.4)  # of the fast teacher's, a woman's: down to a man's
FAST_FORMANT_LIMITS = (0.8, 1.2)
FORMANT_POWER = 0.3  # formants follow the pitch by this power of it,
FORMANT_SPREAD = 0.05  # give or take this standard deviation of their logarithm
PLAIN_SHARE = 0.35  # of the blends are left as they are blended
KOKORO, HIBARI = "kokoro", "hibari"


@dataclasses.dataclass(frozen=True)
class Speaker:
    """What a teacher is asked for. `timbre`: voices and weights summing to 1; `prosody`: the voice whose manner is taken;
    `formant` scales every frequency, `pitch` the pitch alone beyond that; `rate` > 1 is faster."""

    name: str
    teacher: str
    timbre: tuple[tuple[str, float], ...]
    prosody: str
    formant: float = 1.0
    pitch: float = 1.0
    rate: float = 1.0

    @property
    def pure(self) -> bool:
        """Whether this is a teacher's voice as it comes."""
        return len(self.timbre) == 1 and self.formant == self.pitch == self.rate == 1.0

    @property
    def traits(self) -> tuple[float, ...]:
        """What this voice was made of, as numbers: logarithms of its pitch, formants and rate, whether the timbre is a
        man's, and the share of each voice of ENGLISH."""
        shares = dict(self.timbre)
        return (
            math.log(self.formant * self.pitch),
            math.log(self.formant),
            math.log(self.rate),
            float(self.timbre[0][0][1] == "m"),
            *(shares.get(voice, 0.0) for voice in ENGLISH),
        )


def pure_speaker(voice: str) -> Speaker:
    """A teacher's voice as it comes."""
    return Speaker(voice, KOKORO, ((voice, 1.0),), voice)


def make_speakers(seed: int, blends: int = BLENDS) -> list[Speaker]:
    """The voices that may be trained on, then `blends` of three voices of one sex each, most of them changed further."""
    rng = random.Random(seed)
    speakers = [pure_speaker(voice) for voice in ENGLISH]
    for index in range(blends):
        sex = "fm"[index % 2]
        voices = [voice for voice in ENGLISH if voice[1] == sex]
        weights = [rng.expovariate(1.0) for _ in range(3)]
        timbre = tuple(
            (voice, round(weight / sum(weights), 3))
            for voice, weight in zip(rng.sample(voices, 3), weights, strict=True)
        )
        name = f"blend{index:03d}"
        if rng.random() < PLAIN_SHARE:
            speakers.append(Speaker(name, KOKORO, timbre, rng.choice(voices)))
        else:
            speakers.append(_changed(rng, name, timbre, rng.choice(voices)))
    return speakers


def make_fast_speakers(seed: int, count: int = FAST_SPEAKERS) -> list[Speaker]:
    """Changes of the fast teacher's one voice, spread evenly over pitches from a man's to a child's."""
    rng = random.Random(seed)
    speakers = []
    for index in range(count):
        pitch = _between(FAST_PITCH_LIMITS, (index + rng.random()) / count)
        formant = pitch**FORMANT_POWER * math.exp(rng.gauss(0, FORMANT_SPREAD))
        formant = min(max(formant, FAST_FORMANT_LIMITS[0]), FAST_FORMANT_LIMITS[1])
        rate = _between(RATE_LIMITS, rng.random())
        speakers.append(
            Speaker(
                f"fast{index:03d}",
                HIBARI,
                (("af_heart", 1.0),),
                "af_heart",
                round(formant, 3),
                round(pitch / formant, 3),
                round(rate, 3),
            )
        )
    return speakers


def _changed(rng: random.Random, name: str, timbre: tuple[tuple[str, float], ...], prosody: str) -> Speaker:
    pitch = math.exp(rng.gauss(0, PITCH_SPREAD))
    return Speaker(
        name,
        KOKORO,
        timbre,
        prosody,
        round(_between(FORMANT_LIMITS, rng.random()), 3),
        round(min(max(pitch, PITCH_LIMITS[0]), PITCH_LIMITS[1]), 3),
        round(_between(RATE_LIMITS, rng.random()), 3),
    )


def _between(limits: tuple[float, float], share: float) -> float:
    """Geometric interpolation between two positive limits."""
    return limits[0] * (limits[1] / limits[0]) ** share
