"""From nothing to the embedded model: `python -m training.tiny_en [--work FOLDER] [STAGE …]`.

Stages run in order; one that is finished is passed over, one that was interrupted goes on from its checkpoint.
"""

import argparse
import logging
import os
from pathlib import Path

import torch

from pipeline.config import ModelConfig
from pipeline.strict import build, read_yaml
from training.recipe import CPU_STAGES, STAGES, UNSEEN_SPEAKERS
from training.workspace import CONFIGS, MODEL_CONFIG, Workspace

DEFAULT_WORK = Path("runs/tiny-en")
WORK_VARIABLE = "TINY_EN_WORK"


def default_work() -> Path:
    """The work folder: `TINY_EN_WORK`, or `runs/tiny-en`."""
    return Path(os.environ.get(WORK_VARIABLE, DEFAULT_WORK))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"only these, of: {', '.join(STAGES)}; without any, all"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=default_work(),
        help="folder of corpus, caches and checkpoints, several GB (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--device", default="cpu", help="where the networks are: cpu or cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--settings", type=Path, help="folder of STAGE.yaml files that stand for those of training/configs"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stages {sorted(unknown)}, allowed: {', '.join(STAGES)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    work = Workspace(
        arguments.work,
        build(ModelConfig, read_yaml(MODEL_CONFIG), MODEL_CONFIG.name),
        UNSEEN_SPEAKERS,
        (CONFIGS,) if arguments.settings is None else (arguments.settings, CONFIGS),
    )
    for name in arguments.stages or STAGES:
        torch.set_default_device("cpu" if name in CPU_STAGES else arguments.device)
        STAGES[name](work)


if __name__ == "__main__":
    main()
