"""Bulk synthesis with a real Ray: rows, the manifest, a second run, chapters. `script/test -m ray`."""

import csv
import json
import subprocess
import sys

import pytest
import soundfile

from tests.conftest import ROOT

pytestmark = pytest.mark.ray
QUICK = ("max_mel_tokens=60", "diffusion_steps=1", "num_beams=1")


def run(folder, table, *more) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "gateway.batch",
        str(table),
        "-o",
        str(folder / "out"),
        "--model",
        "tiny-en",
    ]
    command += ["--voices", str(folder / "voices")]
    for pair in QUICK:
        command += ["-i", pair]
    return subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=560)


def manifest(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "out/manifest.jsonl").read_text().splitlines()]


def test_a_table_becomes_files_and_chapters_once(tmp_path):
    table = tmp_path / "book.csv"
    rows = [
        ("Hello.", "george", "One"),
        ("Good day.", "isabella", "One"),
        ("Thank you.", "george", "Two: more"),
        ("Hello.", "george", "Two: more"),
    ]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "voice", "chapter"), *rows])
    done = run(tmp_path, table, "--join", "m4b")
    assert done.returncode == 0, done.stderr
    lines = manifest(tmp_path)
    assert sorted(line["index"] for line in lines) == [0, 1, 2, 3] and {line["status"] for line in lines} == {
        "done"
    }
    by_index = {line["index"]: line for line in lines}
    assert by_index[0]["file"] == by_index[3]["file"], "the same row is made once"
    for line in lines:
        assert soundfile.info(tmp_path / "out" / line["file"]).duration == pytest.approx(
            line["seconds"], abs=0.01
        )
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"01-One.flac", "01-One.srt", "02-Two-more.flac", "02-Two-more.srt", "book.m4b"} <= made
    marks = subprocess.run(
        ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", tmp_path / "out/book.m4b"],
        capture_output=True,
    )
    chapters = json.loads(marks.stdout)["chapters"]
    assert [chapter["tags"]["title"] for chapter in chapters] == ["One", "Two: more"]
    assert "Good day." in (tmp_path / "out/01-One.srt").read_text()

    with table.open("a", newline="") as file:
        csv.writer(file).writerows([("Come in.", "george", ""), ("Hi.", "nobody", ""), ("...", "george", "")])
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.wav")}
    again = run(tmp_path, table)
    assert again.returncode == 2 and "(made now: 1), 2 failed" in again.stderr, again.stderr
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    errors = {line["index"]: line["error"] for line in manifest(tmp_path) if line["status"] == "failed"}
    assert "'nobody' does not exist" in errors[5] and "nothing to read aloud" in errors[6]
    assert len(manifest(tmp_path)) == 7
