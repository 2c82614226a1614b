"""How well a model reads held-out English in given voices: `script/quality [--model NAME] [--sentences N] [--out FOLDER]`.

For each of flite's four voices as reference: word error rate by pocketsphinx next to its rate on flite's own audio of the
same sentences, median pitch of output and reference, style cosine to the same and to the other references, real-time
factor, whether the end of speech was found. Writes `quality.json`, and pictures: `spectrograms.png` (the model's beside
flite's), `alignment.png` (what of the text the GPT attends to) and `losses.png` (if the model directory has its training
logs).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import statistics
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from checks import pictures
from pipeline.audio import kaldi_fbank, resample
from pipeline.model import Model
from service.catalog import embedded_directory
from service.request import Request
from service.service import Service
from service.settings import Settings
from training import corpus, flite, measure, plots, speakers
from training.export import LOGS

REFERENCE_TEXT = (
    "This is how my voice sounds when I read a few lines aloud. I try to speak clearly, and I pause "
    "between the sentences."
)
PITCH_TOLERANCE = 0.15
UNENDED = "without an end of speech"  # of the warning service.finish gives
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Case:
    """One sentence in one voice. Pitches in Hz; cosines of the output's style with the references'."""

    voice: str
    text: str
    heard: str
    heard_flite: str
    errors: int
    errors_flite: int
    words: int
    pitch: float
    pitch_reference: float
    similarity_same: float
    similarity_other: float
    real_time_factor: float
    stopped: bool


def style(model: Model, wave: np.ndarray, rate: int) -> Tensor:
    """Style vector [S] of a wave [T]."""
    config = model.config.speaker
    wave = resample(torch.from_numpy(wave).float()[None], rate, config.sample_rate)
    with torch.inference_mode():
        return (
            model.speaker(kaldi_fbank(wave, config.sample_rate, config.mel_bins).to(model.device))[0]
            .float()
            .cpu()
        )


def measure_model(service: Service, texts: list[str], folder: Path) -> list[Case]:
    """Every text in every voice; the waves stay in `folder` as VOICE-INDEX.wav and VOICE-INDEX-flite.wav."""
    voices = [speaker for speaker in speakers.make_speakers(0) if speaker.pure]
    references = {voice.name: flite.speak(REFERENCE_TEXT, voice).wave for voice in voices}
    styles = {name: style(service.model, wave, flite.SAMPLE_RATE) for name, wave in references.items()}
    pitches = {name: measure.median_pitch(wave, flite.SAMPLE_RATE) for name, wave in references.items()}
    cases = []
    for voice in voices:
        path = folder / f"{voice.name}-reference.wav"
        soundfile.write(path, references[voice.name], flite.SAMPLE_RATE)
        for index, text in enumerate(texts):
            result = service.run(Request(text=text, speaker=path, seed=index), path.parent)
            wave, rate = soundfile.read(result.path, dtype="float32")
            soundfile.write(folder / f"{voice.name}-{index:03d}.wav", wave, rate)
            own = flite.speak(text, voice).wave
            soundfile.write(folder / f"{voice.name}-{index:03d}-flite.wav", own, flite.SAMPLE_RATE)
            heard, heard_flite = measure.transcribe(wave, rate), measure.transcribe(own, flite.SAMPLE_RATE)
            said = measure.words(text)
            cosines = {
                name: float(F.cosine_similarity(style(service.model, wave, rate), other, dim=0))
                for name, other in styles.items()
            }
            cases.append(
                Case(
                    voice=voice.name,
                    text=text,
                    heard=heard,
                    heard_flite=heard_flite,
                    errors=measure.word_errors(said, measure.words(heard)),
                    errors_flite=measure.word_errors(said, measure.words(heard_flite)),
                    words=len(said),
                    pitch=measure.median_pitch(wave, rate),
                    pitch_reference=pitches[voice.name],
                    similarity_same=cosines.pop(voice.name),
                    similarity_other=max(cosines.values()),
                    real_time_factor=float(result.metrics["real_time_factor"]),
                    stopped=not any(UNENDED in warning for warning in result.metrics["warnings"]),
                )
            )
            logger.info("%s: %s | %s", voice.name, text, heard)
    return cases


def summarize(cases: list[Case]) -> dict[str, float]:
    """The figures of the whole and, for word errors and pitch, of each voice."""

    def rate(field: str, some: list[Case]) -> float:
        return sum(getattr(case, field) for case in some) / max(sum(case.words for case in some), 1)

    def near(some: list[Case]) -> float:
        return statistics.mean(abs(case.pitch / case.pitch_reference - 1) <= PITCH_TOLERANCE for case in some)

    summary = {
        "cases": len(cases),
        "word_error_rate": rate("errors", cases),
        "word_error_rate_flite": rate("errors_flite", cases),
    }
    for voice in dict.fromkeys(case.voice for case in cases):
        some = [case for case in cases if case.voice == voice]
        summary |= {
            f"word_error_rate_{voice}": rate("errors", some),
            f"word_error_rate_flite_{voice}": rate("errors_flite", some),
            f"pitch_near_share_{voice}": near(some),
        }
    return summary | {
        "pitch_near_share": near(cases),
        "same_above_other_share": statistics.mean(
            case.similarity_same > case.similarity_other for case in cases
        ),
        "stopped_share": statistics.mean(case.stopped for case in cases),
        "real_time_factor_median": statistics.median(case.real_time_factor for case in cases),
    }


def shown(cases: list[Case], folder: Path) -> list[tuple[str, np.ndarray, int]]:
    """Title, wave and rate of the first sentence in each voice, the model's and flite's."""
    pairs = []
    for voice in dict.fromkeys(case.voice for case in cases):
        text = next(case.text for case in cases if case.voice == voice)
        for who, name in (("model", f"{voice}-000.wav"), ("flite", f"{voice}-000-flite.wav")):
            pairs.append((f"{who} {voice}: {text}", *soundfile.read(folder / name, dtype="float32")))
    return pairs


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="a name in configs/ or a model directory (default: the one that is served)"
    )
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pipeline").setLevel(logging.WARNING)
    texts = list(corpus.held_out()[: arguments.sentences])
    arguments.out.mkdir(parents=True, exist_ok=True)
    service = Service(Settings.read(model=arguments.model))
    with tempfile.TemporaryDirectory(prefix="indextts-quality-") as scratch:
        cases = measure_model(service, texts, Path(scratch))
        pictures.draw_spectrograms(
            service.model.config.audio, shown(cases, Path(scratch)), arguments.out / "spectrograms.png"
        )
        pictures.draw_alignment(
            service,
            texts[0],
            Path(scratch) / f"{cases[0].voice}-reference.wav",
            arguments.out / "alignment.png",
        )
    logs = sorted((embedded_directory(service.model.config.name) / LOGS).glob("*.txt"))
    if logs:
        plots.plot_logs(logs, arguments.out / "losses.png")
    summary = summarize(cases)
    (arguments.out / "quality.json").write_text(
        json.dumps({"summary": summary, "cases": [dataclasses.asdict(case) for case in cases]}, indent=1)
    )
    for name, value in summary.items():
        print(f"{name:32s} {value:.3f}")


if __name__ == "__main__":
    main()
