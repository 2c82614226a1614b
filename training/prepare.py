"""Makes a dataset ready for training: `python -m training.prepare MANIFEST FOLDER`.

Clips that cannot be trained on are listed with the reason; of the others silence is trimmed, the level of the
speech set, the text normalized as the service does it. Writes wavs and a manifest of its own.
"""

import argparse
import json
import logging
from pathlib import Path

import torch
from torch import Tensor

from enhance.audio_input.read import read_audio
from enhance.levels import frame_power
from enhance.speech import speech_blocks
from enhance.trim import trim_silence
from pipeline.audio import write_wav
from pipeline.text.normalize import TextNormalizer
from training.data import LIMITS, MANIFEST, Clip, Rejection, usable_clips

LEVEL = 0.07  # root mean square of the speech, full scale 1
PEAK = 0.95
EDGE_SECONDS = 0.12
logger = logging.getLogger(__name__)


def leveled(samples: Tensor, rate: int) -> Tensor:
    """A wave [1, T] with its speech at `LEVEL`, or less where its peak would pass `PEAK`."""
    power = frame_power(samples, rate)
    speech = speech_blocks(power)
    level = power[speech if speech.any() else slice(None)].mean().sqrt()
    return samples * torch.minimum(LEVEL / level.clamp(min=1e-6), PEAK / samples.abs().max().clamp(min=1e-6))


def prepare_clip(clip: Clip, normalizer: TextNormalizer, path: Path) -> str:
    """Write the trimmed and leveled clip to `path`; returns its normalized text."""
    audio = read_audio(clip.path, LIMITS)
    samples = trim_silence(
        audio.samples, audio.sample_rate, pad_seconds=EDGE_SECONDS, min_seconds=LIMITS.min_seconds
    )
    write_wav(path, leveled(samples, audio.sample_rate)[0], audio.sample_rate)
    return normalizer.normalize(clip.text)


def prepare(manifest: Path, folder: Path, minimum: int = 1) -> list[Rejection]:
    """Prepare every usable clip of `manifest` into `folder`; returns what was left out and why.

    Phone timings are not carried over: trimming moves them. ValueError when fewer than `minimum` clips are
    usable.
    """
    clips, rejected = usable_clips(manifest, minimum)
    normalizer = TextNormalizer()
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, clip in enumerate(clips):
        name = f"{index:06d}.wav"
        text = prepare_clip(clip, normalizer, folder / name)
        lines.append(json.dumps({"audio": name, "text": text, "speaker": clip.speaker}, ensure_ascii=False))
    (folder / MANIFEST).write_text("\n".join(lines) + "\n", "utf-8")
    logger.info("%d clips prepared, %d left out", len(lines), len(rejected))
    return rejected


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    prepare(arguments.manifest, arguments.folder)


if __name__ == "__main__":
    main()
