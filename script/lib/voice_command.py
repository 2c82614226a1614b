"""`script/voice`: make, look at and compare voice files.

script/voice create reference.wav -o someone.voice.safetensors
script/voice show someone.voice.safetensors
script/voice compare someone.voice.safetensors other.wav
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from torch.nn import functional as F

from pipeline.voice_file import SUFFIX, is_voice_file, read_info, write_voice
from service.reference import ReferenceOptions
from service.service import Service  # noqa: E402
from service.settings import Settings


def create(options: argparse.Namespace) -> None:
    """Write the voice of an audio file and print what can be said of the clip."""
    chosen = ReferenceOptions(options.denoise, not options.no_trim, options.window)
    service = Service(Settings.read(model=options.model))
    reference = service.references.speaker(options.audio, chosen)
    if reference.report is None:
        raise ValueError(f"{options.audio.name} is a voice file already")
    output = options.output or options.audio.with_name(options.audio.stem + SUFFIX)
    write_voice(output, reference.voice, service.model, reference.source_sha256, str(chosen))
    for warning in reference.report.warnings:
        print(f"note: {warning}")
    print(f"{output}: {reference.voice.seconds:.1f} s of speech, {output.stat().st_size:,} bytes")


def show(options: argparse.Namespace) -> None:
    info = read_info(options.voice)
    for name, value in vars(info).items():
        print(f"{name:<14} {value}")


def compare(options: argparse.Namespace) -> None:
    """Print the cosine similarity of two voices' styles: 1 is the same, below about 0.5 another speaker."""
    service = Service(Settings.read(model=options.model))
    styles = [
        service.references.speaker(path, ReferenceOptions()).voice.style
        for path in (options.first, options.second)
    ]
    print(f"{F.cosine_similarity(*styles).item():.4f}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="script/voice", description="Make, look at and compare voice files."
    )
    parser.add_argument("--model", help="a name in configs/ or a model directory (default: INDEXTTS_MODEL)")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("create", help="make a voice file of an audio file")
    command.add_argument("audio", type=Path)
    command.add_argument("-o", "--output", type=Path, help=f"default: the audio's name with {SUFFIX}")
    command.add_argument("--denoise", action="store_true")
    command.add_argument("--no-trim", action="store_true")
    command.add_argument("--window", choices=["best", "first"], default="best")
    command.set_defaults(run=create)
    command = commands.add_parser("show", help="what a voice file says of itself")
    command.add_argument("voice", type=Path)
    command.set_defaults(run=show)
    command = commands.add_parser("compare", help="similarity of two voices, from voice or audio files")
    command.add_argument("first", type=Path)
    command.add_argument("second", type=Path)
    command.set_defaults(run=compare)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        if options.command == "show" and not is_voice_file(options.voice):
            raise ValueError(f"{options.voice} is not a voice file")
        options.run(options)
    except (ValueError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
