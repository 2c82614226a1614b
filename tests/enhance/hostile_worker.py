"""Reads audio files in a process of its own and says what came of each: one JSON line per path of standard
input.

Its peak memory is the process's own, set back before each file, plus that of the children running at that
moment.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

from enhance.audio_input.read import AudioError, AudioLimits, read_audio

POLL_SECONDS = 0.01
OWN_PEAK_RESET = "5"  # proc(5): clear_refs


def resident_peak(pid: int | str) -> int:
    """VmHWM in bytes; 0 where the process has gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def children() -> list[int]:
    """Those that run another program: until then a child shows its parent's memory as its own."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if program(pid) not in (None, program("self"))]


def program(pid: int | str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None


class PeakOfChildren(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(POLL_SECONDS):
            self.peak = max(self.peak, sum(map(resident_peak, children())))


def measure(path: str, limits: AudioLimits) -> dict:
    Path("/proc/self/clear_refs").write_text(OWN_PEAK_RESET)
    watcher = PeakOfChildren()
    watcher.start()
    start = time.perf_counter()
    try:
        audio = read_audio(path, limits)
        kind = f"{audio.source_format} {audio.source_subtype}"
        outcome = f"read: {audio.seconds:.2f} s, {audio.sample_rate} Hz, {kind}"
        audio_seconds = audio.seconds
    except AudioError as e:
        outcome, audio_seconds = str(e), None
    seconds = time.perf_counter() - start
    watcher.ended.set()
    watcher.join()
    return {
        "outcome": outcome,
        "audio_seconds": audio_seconds,
        "seconds": seconds,
        "own": resident_peak("self"),
        "children": watcher.peak,
        "left": children(),
    }


if __name__ == "__main__":
    given = AudioLimits(decode_seconds=float(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line), given)), flush=True)
