"""`script/doctor` where things are missing, broken or taken."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from checks import doctor, installed, machine
from tests.conftest import ROOT

BARE_PATH = str(Path(sys.base_prefix) / "bin")  # of a Python without this project's packages


def report(root: Path = ROOT, **environment: str) -> tuple[int, dict[str, dict]]:
    """Exit status and findings by name of `script/doctor --json` as a process."""
    done = subprocess.run(
        [root / "script/doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=500,
        env={"HOME": "/nowhere", "PATH": BARE_PATH} | environment,
    )
    assert done.stdout, done.stderr
    content = json.loads(done.stdout)
    assert content["ready"] == (done.returncode == 0)
    return done.returncode, {finding["name"]: finding for finding in content["findings"]}


@pytest.fixture
def plain(monkeypatch):
    for name in [name for name in os.environ if name.startswith("INDEXTTS_")] + ["PORT"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def by_name(findings) -> dict[str, installed.Finding]:
    return {finding.name: finding for finding in findings}


def test_an_empty_path_is_reported_and_not_stumbled_over():
    status, found = report(PATH="")
    assert status == 1 and found["ffmpeg"]["status"] == "missing" and "apt-get" in found["ffmpeg"]["todo"]
    assert found["torch"]["status"] == found["packages"]["status"] == "ok"
    assert found["compiler"]["status"] == found["docker"]["status"] == found["cog"]["status"] == "note"


def test_before_set_up_a_bare_python_is_enough(tmp_path):
    modules = [f"checks/{name}.py" for name in ("__init__", "doctor", "installed", "machine")]
    for name in ("script/doctor", *modules):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    status, found = report(tmp_path)
    assert status == 1 and found["python"]["status"] == "missing"
    assert "script/setup" in found["python"]["todo"]
    assert found["model"]["status"] == "missing" and "torch" not in found


def test_a_broken_torch_is_a_line_of_the_report(plain, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')")
    plain.setenv("PYTHONPATH", str(tmp_path))
    torch = by_name(installed.environment())["torch"]
    assert torch.status == "missing" and "libcudart.so.13" in torch.found and torch.todo == installed.REMAKE


def test_a_package_of_another_version_is_named(plain, tmp_path):
    folder = tmp_path / "wetext-0.0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: wetext\nVersion: 0.0.1\n")
    site = next(path for path in sys.path if path.endswith("site-packages"))
    plain.setenv("PYTHONPATH", os.pathsep.join([site, str(tmp_path)]))
    packages = installed.packages()
    assert packages.status == "missing" and "wetext is 0.0.1, pinned to 0.1.8" in packages.found


def test_a_python_that_does_not_run(plain, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho bad interpreter >&2; exit 3\n")
    python.chmod(0o755)
    plain.setattr(installed, "VENV", python)
    found = by_name(installed.environment())
    assert list(found) == ["python"] and "bad interpreter" in found["python"].found


def test_embedded_models_say_what_they_lack(plain):
    found = by_name(installed.model())
    assert found["model"].status == "ok" and "tiny-en" in found["model"].found
    assert found["denoise"].status == found["emotion_text"].status == "note"


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("INDEXTTS_MODEL", "nope", "neither known nor a directory"),
        ("INDEXTTS_FEATURES", "video", "INDEXTTS_FEATURES names video; allowed: emotion_text, denoise"),
    ],
)
def test_a_wrong_setting_is_named(plain, name, value, message):
    plain.setenv(name, value)
    found = by_name(installed.model())["model"]
    assert found.status == "missing" and message in found.found


def test_missing_weights_say_how_to_get_them_and_where_they_cannot_go(plain, tmp_path):
    (tmp_path / "file").write_text("")
    plain.setenv("INDEXTTS_MODEL", "indextts2")
    plain.setenv("INDEXTTS_FEATURES", "denoise")
    plain.setenv("INDEXTTS_WEIGHTS_DIR", str(tmp_path / "file/weights"))
    found = by_name(installed.model())
    assert found["model"].status == found["denoise"].status == found["disk"].status == "missing"
    assert "gpt.pth (missing)" in found["model"].found or "config.yaml (missing)" in found["model"].found
    assert found["model"].todo.endswith("weights.py fetch --model indextts2 --group core")
    assert found["emotion_text"].status == "note" and "INDEXTTS_WEIGHTS_DIR" in found["disk"].todo
    assert not (tmp_path / "file").is_dir()


def test_a_full_disk_is_told_before_the_fetch(plain, tmp_path):
    plain.setenv("INDEXTTS_MODEL", "indextts2")
    plain.setenv("INDEXTTS_WEIGHTS_DIR", str(tmp_path))
    plain.setattr(installed, "WEIGHTS_BYTES", 1e18)
    disk = by_name(installed.model())["disk"]
    assert disk.status == "missing" and "free" in disk.found
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_told_with_another(plain):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        plain.setattr(doctor, "ANSWER_SECONDS", 0.2)
        plain.setenv("PORT", str(s.getsockname()[1]))
        assert doctor.port().status == "note" and "in use" in doctor.port().found
    assert doctor.port().status == "ok"


@pytest.mark.parametrize("port", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none(plain, port):
    plain.setenv("PORT", port)
    assert doctor.port().status == "missing" and port in doctor.port().found


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_what_ffmpeg_lacks_is_named(plain, tmp_path):
    program(tmp_path, "ffprobe", "true")
    program(tmp_path, "ffmpeg", 'echo " A....D aac  AAC"; echo " A....D libopus  Opus"')
    plain.setenv("PATH", str(tmp_path))
    found = by_name(doctor.programs())["ffmpeg"]
    assert found.status == "note" and "libmp3lame" in found.found and "libopus" not in found.found


@pytest.mark.parametrize(
    "torch, status, todo",
    [
        ({"cuda": None, "devices": []}, "note", "INDEXTTS_TORCH=cuda script/setup"),
        ({"cuda": "12.8", "devices": []}, "note", "update the driver (it comes with driver 570)"),
        ({"cuda": "12.8", "devices": ["NVIDIA L4"]}, "ok", ""),
    ],
)
def test_a_gpu_and_a_torch_that_may_not_fit(plain, tmp_path, torch, status, todo):
    program(tmp_path, "nvidia-smi", "echo 'NVIDIA L4, 23034, 22000, 535.1'")
    plain.setenv("PATH", str(tmp_path))
    found = installed.gpu(torch)
    assert (
        (found.status, found.todo) == (status, todo) and "23034 MiB" in found.found and "535.1" in found.found
    )


def test_the_report_for_people_lists_each_finding(plain, capsys, monkeypatch):
    findings = [installed.Finding("ffmpeg", "missing", "not on PATH", "install it")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert doctor.main([]) == 1
    told = capsys.readouterr().out
    assert "ffmpeg  not on PATH" in told and "→ install it" in told and "1 missing: ffmpeg" in told


def test_facts_are_plausible():
    assert machine.cpu()["cores"] >= 1
    assert machine.cpu_quota() is None or machine.cpu_quota() > 0
    total, available = machine.memory()["total"], machine.memory()["available"]
    assert total is None or 0 < available <= total
