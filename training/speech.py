"""Writes the speech corpus. Run again, it goes on where it stopped."""

import dataclasses
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import soundfile

from pipeline.text.phones import read_phones
from training import corpus, speakers, teacher
from training.data import MANIFEST

PURE_WEIGHT = 4  # a teacher's own voice speaks this many times as much as a blend
LOG_EVERY = 200
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """`count` clips, numbered from `first`, by `speakers`."""

    first: int
    count: int
    speakers: Callable[[int], Sequence[speakers.Speaker]]
    seed: int

    def lines(self) -> list[tuple[int, str, speakers.Speaker]]:
        """Number, sentence and speaker of each clip."""
        dealt = assign_speakers(self.speakers(self.seed), self.count, self.seed)
        texts = corpus.sentences(self.count, self.seed)
        return list(zip(range(self.first, self.first + self.count), texts, dealt, strict=True))


def assign_speakers(everyone: Sequence[speakers.Speaker], count: int, seed: int) -> list[speakers.Speaker]:
    """The speaker of each of `count` sentences: equal shares, the pure voices `PURE_WEIGHT` times as often."""
    deck = [speaker for speaker in everyone for _ in range(PURE_WEIGHT if speaker.pure else 1)]
    rng = random.Random(seed)
    dealt: list[speakers.Speaker] = []
    while len(dealt) < count:
        dealt += rng.sample(deck, len(deck))
    return dealt[:count]


def write_corpus(folder: Path, plan: Plan, teachers: teacher.Teachers) -> Path:
    """Speak the planned sentences into `folder/SPEAKER/NUMBER.flac`; returns the manifest's path.

    The manifest has one JSON line per file: index (its number), audio (relative path), text, speaker, phones ([[phone, end
    in s], …], as `teacher.Utterance` has them). Lines already there are kept and their files not made again, so an
    interrupted run loses one file at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    done = {json.loads(line)["index"] for line in _whole_lines(manifest)}
    wanted = [line for line in plan.lines() if line[0] not in done]
    started, seconds = time.monotonic(), 0.0
    with manifest.open("a", encoding="utf-8") as lines:
        for made, (index, text, speaker) in enumerate(wanted, 1):
            utterance = teachers.speak(read_phones(text), speaker)
            path = folder / speaker.name / f"{index:06d}.flac"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, utterance.wave, teacher.SAMPLE_RATE, subtype="PCM_16")
            lines.write(
                json.dumps(
                    {
                        "index": index,
                        "audio": str(path.relative_to(folder)),
                        "text": text,
                        "speaker": speaker.name,
                        "phones": utterance.phones,
                    },
                    ensure_ascii=False,
                )
                + "\n"
            )
            lines.flush()
            seconds += len(utterance.wave) / teacher.SAMPLE_RATE
            if made % LOG_EVERY == 0:
                took = time.monotonic() - started
                logger.info(
                    "%s: %d of %d sentences spoken, %.1f times real time, %.0f minutes left",
                    folder.name,
                    len(done) + made,
                    plan.count,
                    seconds / took,
                    took / made * (len(wanted) - made) / 60,
                )
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
