"""Kokoro-82M, the small voice's teacher: the best its pupil can be heard as, and whose unseen voices are references.

    .venv-judges/bin/python -m checks.teacher FOLDER < JOBS     a JSON object a line: {"path", "voice", "text"}

Its packages are in requirements-judges.txt (`training.kokoro`). Runs in the judges' environment.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np
import soundfile

from training.kokoro import SAMPLE_RATE, STYLE, fetch_voices, kokoro_model, kokoro_vocabulary


class Teacher:
    """Speaks text in one of Kokoro's English voices, named as its files are (af_bella: American, female)."""

    def __init__(self, folder: Path):
        import onnxruntime

        self.voices = fetch_voices(folder)
        self.vocabulary = kokoro_vocabulary()
        self.session = onnxruntime.InferenceSession(str(kokoro_model()))

    @functools.cached_property
    def american(self):
        from hibari.g2p import G2P

        return G2P()

    @functools.cached_property
    def british(self):
        from hibari.g2p import G2P

        return G2P(british=True)

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Wave [T] at 24 kHz. ValueError for a voice that is not there or a text without phones or with too many."""
        table = self.voices / f"{voice}.bin"
        if not table.is_file():
            raise ValueError(
                f"voice is {voice}; allowed: {', '.join(sorted(p.stem for p in self.voices.glob('*.bin')))}"
            )
        styles = np.fromfile(table, np.float32).reshape(-1, STYLE)
        phones = (self.british if voice.startswith("b") else self.american)(text)
        ids = [self.vocabulary[phone] for phone in phones if phone in self.vocabulary]
        if not 0 < len(ids) < len(styles):
            raise ValueError(f"'{text}' has {len(ids)} phones; allowed: 1 to {len(styles) - 1}")
        name = self.session.get_outputs()[0].name
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": styles[len(ids) - 1][None],
            "speed": np.ones(1, np.float32),
        }
        return self.session.run([name], inputs)[0].reshape(-1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the voices are kept")
    teacher = Teacher(parser.parse_args().folder)
    for line in sys.stdin:
        job = json.loads(line)
        path = Path(job["path"])
        partial = path.with_suffix(".partial.wav")
        soundfile.write(partial, teacher.speak(job["text"], job["voice"]), SAMPLE_RATE)
        partial.replace(path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
