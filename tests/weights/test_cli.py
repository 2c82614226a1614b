"""The command line: as a person runs it, and most of it in this process, which has imported what it needs."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

import pytest
import torch

from fetching.cli import main
from fetching.manifest import ROOT
from tests.commands import Done
from tests.weights.conftest import BIG, SMALL, Project
from tests.weights.server import Fault
from weights import RULES


def run_cli(project: Project, command: str, *more: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(RULES, [command, *project.options, *more])
        except SystemExit as e:  # of argparse
            status = e.code
    return Done(status, out.getvalue(), err.getvalue())


def run_process(project: Project, command: str, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "weights.py"), command, *project.options, *more],
        capture_output=True,
        text=True,
        timeout=300,
    )


def table(output: str) -> dict[str, list[str]]:
    lines = output.splitlines()
    starts = [
        index
        for index, character in enumerate(lines[2])
        if character == "-" and (index == 0 or lines[2][index - 1] == " ")
    ]
    rows = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=False)]
        for line in lines[3:]
    ]
    return {row[0]: row[1:] for row in rows}


def test_status_before_and_after_a_fetch(hub, project):
    project.files(
        [SMALL, {"file": BIG, "size": 1_000_003, "sha256": "0" * 64}, {"file": "extra", "optional": True}]
    )
    before = run_process(project, "status")
    assert before.returncode == 1 and str(project.directory) in before.stdout.splitlines()[0]
    assert table(before.stdout) == {
        SMALL: ["core", "any", "no", "", ""],
        BIG: ["core", "sha256 000000000000", "no", "", "1 MB"],
        "extra": ["core", "optional", "no", "", ""],
    }
    project.files([SMALL, BIG, {"file": "extra", "optional": True}])
    assert run_process(project, "fetch").returncode == 0
    after = run_process(project, "status")
    assert after.returncode == 0
    assert table(after.stdout) == {
        SMALL: ["core", "any", "yes", "by the announcement of the hub", "13 B"],
        BIG: ["core", "any", "yes", "by the announcement of the hub", "1 MB"],
        "extra": ["core", "optional", "no", "not published", ""],
    }
    assert after.stderr == ""


def test_verify_finds_the_flipped_bit_that_kept_size_and_mtime(hub, project):
    run_cli(project, "fetch")
    assert run_cli(project, "verify").returncode == 0
    path = project.directory / BIG
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[99] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    found = run_cli(project, "verify")
    assert found.returncode == 1
    assert f"{BIG}: 1000003 bytes, sha256 " in found.stderr and "expected sha256" in found.stderr
    assert SMALL not in found.stderr
    assert run_cli(project, "fetch").returncode == 0  # no longer trusted, so fetched again
    assert run_cli(project, "verify").returncode == 0


def test_verify_names_what_is_missing(hub, project):
    run_cli(project, "fetch")
    (project.directory / SMALL).unlink()
    found = run_cli(project, "verify")
    assert found.returncode == 1 and found.stderr == f"{SMALL}: missing\n"


def test_failure_is_one_line_and_no_traceback(hub, project):
    hub.faults[BIG] = [Fault(status=403) for _ in range(9)]
    done = run_process(project, "fetch")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "weights.py: model 'toy' is not complete: missing model.bin"
    )


@pytest.mark.parametrize(
    "change, says",
    [
        (["--model", "other"], "no weights are known for model 'other'; known: toy"),
        (["--manifest", "/nowhere.yaml"], "cannot read nowhere.yaml"),
    ],
)
def test_unknown_names_are_errors(project, change, says):
    done = run_cli(project, "status", *change)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr


def test_unknown_group_is_a_usage_error(project):
    done = run_cli(project, "fetch", "--group", "everything")
    assert done.returncode == 2 and "core" in done.stderr


def test_group_chooses_what_is_fetched(hub, project):
    project.blocks(
        [
            {"repository": "org/model", "revision": "main", "group": group, "into": "", "files": [file]}
            for group, file in (("core", SMALL), ("denoise", BIG))
        ]
    )
    assert run_cli(project, "fetch", "--group", "denoise").returncode == 0
    assert project.present() == [BIG]


def test_convert_and_its_rows_in_status(project):
    project.directory.mkdir()
    torch.save(torch.ones(3, 4), project.directory / "feat1.pt")
    project.files([{"file": "feat1.pt", "convert": "speaker_matrix"}])
    unverified = run_cli(project, "convert")
    assert (
        unverified.returncode == 1 and "feat1.pt is unverified and cannot be converted" in unverified.stderr
    )
    assert run_cli(project, "fetch").returncode == 0
    assert run_cli(project, "convert", "--dtype", "float16").returncode == 0
    row = table(run_cli(project, "status").stdout)["feat1.safetensors"]
    assert row[:4] == ["core", "from feat1.pt", "yes", "float16"]
