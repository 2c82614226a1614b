"""Replicate's `pget`, used for a mirror's large files where it is installed. What it fetches is verified
like everything else, and what it fails at is fetched by our own downloader."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

from fetching.http import redact

logger = logging.getLogger(__name__)


def pget(url: str, temporary: Path) -> bool:
    """Fetch `url` to `temporary` with pget; False when it is not installed or fails."""
    program = shutil.which("pget")
    if program is None:
        return False
    # The URL goes through standard input: a signed one has no place in the list of processes. The file
    # is named relative to its directory because pget splits the line at spaces.
    done = subprocess.run(
        [program, "--force", "multifile", "-"],
        input=f"{url} {temporary.name}\n",
        text=True,
        cwd=temporary.parent,
        capture_output=True,
    )
    if done.returncode == 0 and temporary.is_file():
        return True
    lines = done.stderr.strip().replace(url, redact(url)).splitlines() or ["no message"]
    logger.warning(
        "pget failed on %s (exit status %d: %s); using our own downloader",
        redact(url),
        done.returncode,
        lines[-1],
    )
    temporary.unlink(missing_ok=True)
    return False
