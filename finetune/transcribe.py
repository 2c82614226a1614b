"""Texts for clips that came without: by the judges' recognizer, where that is installed."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from finetune.clips import Clip

logger = logging.getLogger(__name__)

JUDGES = "checks.judges"
TEXTS = "transcripts.json"


def transcribe_missing(clips: Sequence[Clip], folder: Path, wanted: bool) -> tuple[list[Clip], str]:
    """The clips, with what a recognizer hears where they had no text, and a sentence on what was done."""
    without = sum(clip.text is None for clip in clips)
    if not without:
        return list(clips), "every clip has a text of the data set"
    if not wanted:
        return list(clips), f"{without} of {len(clips)} clips have none, and the GPT is not trained"
    judges = load_judges()
    if judges is None:
        return list(clips), (
            f"{without} of {len(clips)} clips have none and train the timbre alone: the recognizer is not "
            "installed here"
        )
    path = folder / TEXTS
    heard = json.loads(path.read_text("utf-8")) if path.exists() else {}
    missing = [clip.file for clip in clips if clip.text is None and clip.file not in heard]
    for file, told in zip(missing, judges.judge_all([folder / file for file in missing]), strict=True):
        heard[file] = str(told["heard"]).strip()
    path.write_text(json.dumps(heard, ensure_ascii=False), "utf-8")
    found = [
        clip if clip.text is not None else dataclasses.replace(clip, text=heard[clip.file] or None)
        for clip in clips
    ]
    return found, f"{without} of {len(clips)} clips have what a recognizer heard in them"


def load_judges():
    """The judges' module if it and its environment are here and it can transcribe, else None."""
    if importlib.util.find_spec(JUDGES) is None:
        return None
    judges = importlib.import_module(JUDGES)
    return judges if judges.PYTHON.is_file() else None
