"""`script/train`: one training on this machine, with the grammar of `script/predict`.

    script/train -i dataset=@recordings.zip -i steps=300 -o training.zip
    script/train -i wav_urls=@urls.txt -i train_gpt=false -o training.zip --processes 2

Interrupted, the same command goes on where it was. Several processes (one a GPU) are started by torchrun.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from predict_command import read_inputs

from finetune.launch import train
from finetune.options import Options
from train import ARCHIVE, Trainer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/train", description="Train on recordings.")
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input of train.py; NAME=@FILE gives a file (of a text input: its content). Repeatable.",
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(ARCHIVE), help="where the archive goes")
    parser.add_argument("--processes", type=int, default=1, help="how many, one a GPU (default: 1)")
    options = parser.parse_args(arguments)
    if options.processes < 1:
        parser.error(f"--processes is {options.processes}; allowed: 1 or more")
    with tempfile.TemporaryDirectory(prefix="indextts-inputs-") as folder:
        try:
            values = read_inputs(options.input, Trainer.train, Path(folder))
            train(
                Options(**values), options.output, options.processes, say=lambda line: print(line, flush=True)
            )
        except ValueError as e:
            print(f"error: {e}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; the same command goes on", file=sys.stderr)
            return 130
    print(f"Written output to: {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
