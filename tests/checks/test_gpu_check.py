"""script/gpu-check without a GPU, on a machine that has PyTorch and little else: every line is there, none fails, and
what only a GPU can show is said to be unverified."""

import json
import os
import subprocess
import sys

import pytest

from checks.gpu_check import TARGETS, Report
from checks.gpu_proofs import FAIL, PASS, UNVERIFIED, Line
from pipeline.precisions import PRECISIONS
from tests.conftest import ROOT

NOT_THERE = (
    "librosa", "wetext", "cog", "coglet", "torchaudio", "soundfile", "soxr", "sentencepiece", "scipy", "aiohttp",
    "num2words", "cn2an", "pyloudnorm", "transformers", "triton",
)  # fmt: skip
BARE = f"""
import sys
class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {NOT_THERE!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, NotThere())
from checks.gpu_check import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """(exit status, output, JSON) of a run with next to nothing to do."""
    file = tmp_path_factory.mktemp("check") / "lines.json"
    small = ["--device", "cpu", "--codes", "4", "--proof-codes", "8", "--runs", "1", "--sequences", "2"]
    done = subprocess.run(
        [sys.executable, "-c", BARE, *small, "--json", str(file)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert file.is_file(), done.stderr[-2000:]
    return done.returncode, done.stdout, json.loads(file.read_text())


def test_nothing_fails_and_every_line_is_shown(checked):
    status, output, content = checked
    assert status == 0 and content["counts"][FAIL] == 0, output
    assert all(line["name"] in output for line in content["lines"])


def test_every_stage_is_compared_in_every_precision(checked):
    names = {line["name"] for line in checked[2]["lines"] if line["status"] == PASS}
    for precision in PRECISIONS:
        for stage in (
            "campplus.style",
            "gpt.first_logits",
            "gpt.beam3_codes",
            "s2mel.mel_25_steps",
            "bigvgan.wave",
        ):
            assert f"parity {precision}: {stage}" in names


def test_what_only_a_gpu_shows_is_unverified(checked):
    lines = {line["name"]: line["status"] for line in checked[2]["lines"]}
    for name in (
        "a GPU",
        "graph against eager",
        "no wait for the device (set_sync_debug_mode)",
        "GPT step's kernels",
        "kernels of a GPT step",
    ):
        assert lines[name] == UNVERIFIED
    figures = {name: status for name, status in lines.items() if name.startswith("figure: ")}
    assert set(figures.values()) == {UNVERIFIED}
    shown = {name.removeprefix("figure: ") for name in figures}
    assert set(TARGETS) - shown == {"audio-s/s, 16 sequences"}  # which was not asked for


def test_what_holds_without_a_gpu_is_shown(checked):
    good = {line["name"] for line in checked[2]["lines"] if line["status"] == PASS}
    wanted = {
        "the same seed, the same bytes",
        "cancel in the GPT",
        "cancel in the flow",
        "numbers that overflow are told",
    }
    assert wanted <= good


def test_an_error_fails_its_line_and_no_other(capsys):
    report = Report(60)
    report.run("breaks", lambda: 1 / 0)
    report.run("goes on", lambda: Line("goes on", PASS, "yes"))
    assert [line.status for line in report.lines] == [FAIL, PASS]
    assert "ZeroDivisionError" in report.lines[0].value


def test_what_there_is_no_time_for_is_unverified(capsys):
    report = Report(-1)
    report.run("late", lambda: 1 / 0)
    assert [line.status for line in report.lines] == [
        UNVERIFIED
    ] and "no time left" in capsys.readouterr().out
