#!/usr/bin/env python
"""Every file of a published model: fetched, verified and converted, or a message one can act on.

    python weights.py fetch|verify|status|lock|convert [--model NAME] [--group GROUP]... [--dir DIRECTORY]

`ensure` is what the service calls before it loads anything. Files come from the weights directory, from
INDEXTTS_WEIGHTS_URL (a mirror with the directory's own paths), or from the hub (HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE); nothing else in this project downloads. The parts are in `fetching/`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fetching.cli import main, status_table
from fetching.convert import convert, is_converted
from fetching.fetch import Fetch
from fetching.files import directory_lock, is_writable
from fetching.manifest import GROUPS, LOCK, MANIFEST, WeightsError
from fetching.store import COMPLETE, Store
from pipeline.checkpoints import CHECKPOINTS, CHECKPOINTS_2_5, Section

__all__ = ["WeightsError", "ensure", "status"]

logger = logging.getLogger(__name__)

# What is in each pickle, by the name that configs/weights.yaml has for it.
RULES = {name: tuple(checkpoint.sections.values()) for name, checkpoint in CHECKPOINTS.items()}
RULES |= {
    f"{name}-2.5": tuple(checkpoint.sections.values())
    for name, checkpoint in CHECKPOINTS_2_5.items()
    if checkpoint != CHECKPOINTS[name]
}
RULES["denoiser"] = (Section(path=("model",), optional_path=True),)  # its file's own name is not fixed


def ensure(
    model: str,
    groups: Sequence[str] = ("core",),
    directory: Path | str | None = None,
    *,
    dtype: str = "float32",
    manifest: Path = MANIFEST,
    lock: Path = LOCK,
) -> Path:
    """A directory in which every file of `groups` of `model` is verified, and every pickle converted.

    A warm directory costs a look at file times. A second process waits for the first and fetches nothing.
    directory: default INDEXTTS_WEIGHTS_DIR, else weights/MODEL. dtype: float32 or float16, of the
    converted files. Raises WeightsError, in a few seconds when no source can be reached, saying what is
    missing, where it was looked for, and the ways to provide it."""
    store = Store(model, directory, manifest, lock)
    if is_ready(store, groups, dtype):
        logger.info("weights of '%s' in %s: verified before, unchanged since", model, store.directory)
        return store.directory
    try:
        if is_writable(store.directory):
            with directory_lock(store.directory):
                store.reload()
                Fetch(store, will_convert=True).run(groups)
                convert(store, groups, dtype, RULES)
        else:
            logger.warning(
                "%s is read-only: its files are hashed at every start, and its pickles stay as they are",
                store.directory,
            )
            Fetch(store).run(groups)
    except OSError as e:
        raise WeightsError(f"cannot prepare {store.directory}: {e}") from e
    return store.directory


def status(
    model: str,
    groups: Sequence[str] = GROUPS,
    directory: Path | str | None = None,
    *,
    manifest: Path = MANIFEST,
    lock: Path = LOCK,
) -> str:
    """A table of every file of `groups`: expected, present, verified, size. Reads no file and asks nobody."""
    return status_table(Store(model, directory, manifest, lock), groups)


def is_ready(store: Store, groups: Sequence[str], dtype: str) -> bool:
    entries = store.entries(groups)
    return all(store.state(entry) in COMPLETE for entry in entries) and all(
        entry.rule is None or is_converted(store, entry, dtype) for entry in entries
    )


if __name__ == "__main__":
    sys.exit(main(RULES))
