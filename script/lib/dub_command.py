"""`script/dub`: a track of speech for subtitles, every cue from its start on and within its time.

script/dub film.srt --speaker voice.wav -o film.wav -i seed=7
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.api import make_request
from service.audio_output.encode import FORMATS, encode
from service.dub import make_track, read_cues
from service.fields import from_text
from service.request import Request
from service.service import Service
from service.settings import Settings

OF_THE_TRACK = ("output_format", "sample_rate", "loudness")  # what a cue must not have of its own
NOT_FOR_A_CUE = ("text", "speaker", "voices", "duration", "return_voice", "receipt", "subtitles")


def inputs_of(pairs: list[str]) -> dict[str, object]:
    """NAME=VALUE pairs as inputs. Raises ValueError."""
    inputs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name in NOT_FOR_A_CUE:
            raise ValueError(f"-i {pair[:60]}: expected NAME=VALUE, and not of {', '.join(NOT_FOR_A_CUE)}")
        inputs[name] = from_text(Request, name, value)
    return inputs


def dub(options: argparse.Namespace) -> int:
    cues = read_cues(options.subtitles)
    inputs = {"seed": 0} | inputs_of(options.input)
    shape = {name: inputs.pop(name) for name in OF_THE_TRACK if name in inputs}
    format = shape.pop("output_format", options.output.suffix.removeprefix("."))
    if options.output.suffix != f".{format}" or format not in FORMATS:
        raise ValueError(
            f"-o is '{options.output.name}'; allowed: a name that ends in .{', .'.join(FORMATS)}"
        )
    request = make_request("cue", options.speaker, inputs)
    wave, rate, told = make_track(Service(Settings.read(model=options.model)).run, cues, request)
    encode(wave, rate, options.output.with_suffix(""), format=format, **shape)
    failed = [(number, dubbed) for number, dubbed in enumerate(told, 1) if dubbed.problem]
    for number, dubbed in failed:
        print(f"cue {number} at {dubbed.cue.start:.2f} s: {dubbed.problem}", file=sys.stderr)
    print(
        f"{options.output}: {len(wave) / rate:.1f} s, {len(told) - len(failed)} of {len(told)} cues fit",
        file=sys.stderr,
    )
    if options.report:
        options.report.write_text(
            json.dumps([dataclasses.asdict(dubbed) for dubbed in told], indent=2) + "\n"
        )
    return 2 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/dub", description=__doc__.splitlines()[0])
    parser.add_argument("subtitles", type=Path, help="SubRip, WebVTT or ASS")
    parser.add_argument(
        "--speaker", type=Path, required=True, help="a clip, a voice file, a ZIP file of voices"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("track.wav"))
    parser.add_argument("-i", "--input", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--model", help="a name in configs/ or a model directory (default: INDEXTTS_MODEL)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what became of each cue as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    try:
        return dub(options)
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
