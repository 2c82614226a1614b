"""Writes the speech corpus: `python -m training.speech FOLDER --count 28000`. Run again, it goes on where it stopped."""

import argparse
import json
import logging
import random
from pathlib import Path

import soundfile

from training import corpus, flite, speakers

MANIFEST = "manifest.jsonl"
PURE_WEIGHT = 4  # a pure flite voice speaks this many times as much as a variant
LOG_EVERY = 500
logger = logging.getLogger(__name__)


def assign_speakers(count: int, seed: int) -> list[speakers.Speaker]:
    """The speaker of each of `count` sentences: equal shares, the pure voices `PURE_WEIGHT` times as often."""
    everyone = speakers.make_speakers(seed)
    deck = [speaker for speaker in everyone for _ in range(PURE_WEIGHT if speaker.pure else 1)]
    rng = random.Random(seed)
    dealt: list[speakers.Speaker] = []
    while len(dealt) < count:
        dealt += rng.sample(deck, len(deck))
    return dealt[:count]


def write_corpus(folder: Path, count: int, seed: int) -> Path:
    """Speak `count` sentences into `folder/<speaker>/<index>.wav`; returns the manifest's path.

    The manifest has one JSON line per file: audio (relative path), text, speaker, phones ([[phone, end in s], …]).
    Lines already there are kept and their files not made again, so an interrupted run loses one file at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    done = {json.loads(line)["audio"] for line in _whole_lines(manifest)}
    work = zip(corpus.sentences(count, seed), assign_speakers(count, seed), strict=True)
    with manifest.open("a", encoding="utf-8") as lines:
        for index, (text, speaker) in enumerate(work):
            audio = f"{speaker.name}/{index:06d}.wav"
            if audio in done:
                continue
            try:
                utterance = flite.speak(text, speaker)
            except RuntimeError as error:
                logger.warning("sentence %d left out: %s", index, error)
                continue
            path = folder / audio
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, utterance.wave, flite.SAMPLE_RATE, subtype="PCM_16")
            record = {"audio": audio, "text": text, "speaker": speaker.name, "phones": utterance.phones}
            lines.write(json.dumps(record) + "\n")
            lines.flush()
            if index % LOG_EVERY == 0:
                logger.info("%d of %d sentences spoken", index, count)
    return manifest


def _whole_lines(manifest: Path) -> list[str]:
    """Lines of the manifest; a last line that an interruption cut off is removed from the file."""
    if not manifest.exists():
        return []
    text = manifest.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        manifest.write_text(whole, "utf-8")
    return whole.splitlines()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=28_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write_corpus(arguments.folder, arguments.count, arguments.seed)


if __name__ == "__main__":
    main()
