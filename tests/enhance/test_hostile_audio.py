"""Hostile and odd audio files, read in one worker process. The table: `pytest
tests/enhance/test_hostile_audio.py -s`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.enhance.hostile_audio import READ, make_cases, write_longest_allowed

DECODE_SECONDS = 60  # what is tested is not how busy the machine is
MAX_BYTES = 10**9


class Worker:
    def __init__(self, temp: Path):
        self.temp = temp
        environment = os.environ | {"TMPDIR": str(temp), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/enhance/hostile_worker.py"), str(DECODE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=temp,
            env=environment,
        )

    def read(self, path: Path) -> dict:
        self.process.stdin.write(json.dumps(str(path)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the worker died of {path.name}"
        return json.loads(answer) | {"temp": os.listdir(self.temp)}

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    worker = Worker(tmp_path_factory.mktemp("temp"))
    yield worker
    worker.close()


def test_every_file_is_read_or_refused_in_bounds(worker, tmp_path_factory):
    cases = make_cases(tmp_path_factory.mktemp("hostile"))
    wrong = []
    for case in cases:
        result = worker.read(case.path)
        outcome, peak = result["outcome"], result["own"] + result["children"]
        refused = result["audio_seconds"] is None
        print(
            f"{case.name[:36]!r:40} {result['seconds']:5.2f} s {peak / 1e6:5.0f} MB  "
            f"{outcome.split('; allowed')[0]}"
        )
        faults = {
            "memory": peak > MAX_BYTES,
            "left in the temp directory": result["temp"],
            "left running": result["left"],
            "more than a line": "\n" in outcome,
            "no word on what is allowed": refused and "allowed" not in outcome,
            "outcome": case.outcome is not None
            and (refused if case.outcome == READ else case.outcome not in outcome),
        }
        wrong += [f"{case.name}: {fault}: {outcome}" for fault, holds in faults.items() if holds]
    print(f"{len(cases)} files")
    assert len(cases) >= 60
    assert not wrong, "\n".join(wrong)


def test_longest_allowed_files_stay_under_1_gb(worker, tmp_path_factory):
    for path in write_longest_allowed(tmp_path_factory.mktemp("long")):
        result = worker.read(path)
        print(f"{path.name}: {result['seconds']:.1f} s, {(result['own'] + result['children']) / 1e6:.0f} MB")
        assert result["audio_seconds"] == pytest.approx(600, abs=0.1), result["outcome"]
        assert result["own"] + result["children"] < MAX_BYTES
