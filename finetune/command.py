"""One training in this process (or one of torchrun's): `python -m finetune.command FOLDER`.

FOLDER/request.json holds the options; what came of it is written to FOLDER/outcome.json. `finetune.launch` starts this
and ends it.
"""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import sys
from pathlib import Path

import torch

from finetune.distributed import Processes
from finetune.options import Options
from finetune.run import Work, run
from service.service import Service
from service.settings import Settings

logger = logging.getLogger(__name__)

REQUEST, OUTCOME = "request.json", "outcome.json"


def main(folder: Path) -> int:
    settings = Settings.read(precision="exact")
    logging.basicConfig(
        level=settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    processes = Processes.join()
    try:
        values = json.loads((folder / REQUEST).read_text("utf-8"))
        if values.get("dataset"):
            values["dataset"] = Path(values["dataset"])
        options = Options(**values).checked()
        load = functools.partial(Service, settings, packed=False)
        archive = run(Work(options, folder, load, processes))
        outcome = {"archive": str(archive)}
    except torch.OutOfMemoryError:
        outcome = {
            "error": "the device has too little memory; lower batch_seconds or train one part at a time"
        }
    except ValueError as e:
        outcome = {"error": " ".join(str(e).split())}
    except (OSError, RuntimeError) as e:
        # the writers of tensors raise their own errors, which tell of a full disk in words
        if getattr(e, "errno", None) != errno.ENOSPC and "No space left" not in str(e):
            raise
        outcome = {"error": "the disk is full; free some space and send the same request: it goes on"}
    if "error" in outcome:
        logger.error("%s", outcome["error"])
    if processes.is_first:
        partial = folder / f".{OUTCOME}"
        partial.write_text(json.dumps(outcome), "utf-8")
        os.replace(partial, folder / OUTCOME)
    return int("error" in outcome)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # what a library still does at its end is of no use to anybody
