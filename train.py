"""Cog trainer for IndexTTS2: recordings in, an adapter, a voice file and a report out, as one archive.

`Trainer` is a shell over `finetune.launch`; `cog.train.yaml` serves it as POST /trainings. Cog reads the inputs off this
file without running it: each is one literal `Input(…)` of `Inputs`. Their limits and choices are those of
`finetune.options`, which a test compares.
"""

import logging
import os
import tempfile
from pathlib import Path as LocalPath
from typing import Optional

from cog import BaseRunner, Input, Path

from finetune.launch import train
from finetune.options import Options
from service.settings import Settings
from service.workspace import Workspace

TEMPORARY = os.path.realpath(tempfile.gettempdir())  # where Cog puts the files it is sent
ARCHIVE = "training.zip"


class Inputs:
    """Every input of the trainer."""

    dataset = Input(
        default=None,
        description="A ZIP or TAR file of recordings, with texts (LJSpeech, Kaldi, JSONL, or NAME.txt beside NAME.wav) or without. This or wav_urls.",
    )
    wav_urls = Input(default=None, description="Recordings as http(s) URLs, one a line, instead of dataset.")
    enhance_audio = Input(
        default=False, description="Clean the recordings with a speech enhancement model first."
    )
    trim_silence = Input(default=True, description="Take silence off both ends of every recording.")
    language = Input(
        default="auto",
        choices=["auto", "zh", "en"],
        description="How numbers, dates and abbreviations in the texts are read.",
    )
    method = Input(
        default="lora",
        choices=["lora", "full"],
        description="lora: thin matrices beside the linear layers, a few megabytes. full: all weights of what is trained.",
    )
    train_gpt = Input(
        default=True, description="Train the GPT: delivery and pronunciation. Needs clips with texts."
    )
    train_s2mel = Input(default=True, description="Train the flow: timbre. Needs no texts.")
    steps = Input(default=None, ge=1, le=100000, description="Steps of each part. Empty: by epochs, or 300.")
    epochs = Input(
        default=None,
        ge=0.01,
        le=1000.0,
        description="How often to go through the recordings, instead of steps.",
    )
    batch_seconds = Input(default=40.0, ge=2.0, le=2000.0, description="Seconds of audio in a step.")
    learning_rate = Input(
        default=None, ge=0.0000001, le=0.1, description="Empty: 0.001 for lora, 0.0001 for full."
    )
    seed = Input(default=0, ge=0, le=4294967295, description="The same seed goes through the same numbers.")
    validation_share = Input(
        default=0.1, ge=0.0, le=0.5, description="Share of the recordings that is held out to measure by."
    )


def uploaded(value: object) -> Optional[LocalPath]:
    """The file Cog made of a file input, or None. A string is never opened: the server passes strings that are no URL
    through as they came. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, LocalPath):
        raise ValueError("dataset is not a file; send the file as a data URI or an http(s) URL")
    path = LocalPath(value)
    if os.path.commonpath([TEMPORARY, os.path.realpath(path)]) != TEMPORARY:
        raise ValueError("dataset is not an uploaded file; send the file as a data URI or an http(s) URL")
    return path


class Trainer(BaseRunner):
    def setup(self) -> None:
        logging.basicConfig(level=Settings.read().log_level, format="%(levelname)s %(name)s: %(message)s")
        self.workspace = Workspace()

    def run(self) -> str:
        """Cog's server takes no class without it."""
        raise ValueError("this server trains; send POST /trainings")

    def train(
        self,
        dataset: Optional[Path] = Inputs.dataset,
        wav_urls: Optional[str] = Inputs.wav_urls,
        enhance_audio: bool = Inputs.enhance_audio,
        trim_silence: bool = Inputs.trim_silence,
        language: str = Inputs.language,
        method: str = Inputs.method,
        train_gpt: bool = Inputs.train_gpt,
        train_s2mel: bool = Inputs.train_s2mel,
        steps: Optional[int] = Inputs.steps,
        epochs: Optional[float] = Inputs.epochs,
        batch_seconds: float = Inputs.batch_seconds,
        learning_rate: Optional[float] = Inputs.learning_rate,
        seed: int = Inputs.seed,
        validation_share: float = Inputs.validation_share,
    ) -> Path:
        values = {name: value for name, value in locals().items() if name != "self"}
        options = Options(**values | {"dataset": uploaded(dataset)})
        with self.workspace.fresh() as folder:
            return Path(train(options, folder / ARCHIVE))
