"""What is installed in .venv and which weights are there, asked in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checks import machine

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv/bin/python"
OK, NOTE, MISSING = "ok", "note", "missing"  # note: nothing that the served model needs
PYTHON = (3, 11)
LISTS = ("requirements.txt", "requirements-nodeps.txt")  # what has to be installed, a package a line
# Linux drivers that a CUDA release comes with, by NVIDIA's release notes.
DRIVERS = {"12.6": 560, "12.8": 570, "12.9": 575, "13.0": 580}
# The published files are about 9 GB, the safetensors copies of the pickles among them about 6.
WEIGHTS_BYTES = 16e9
REMAKE = "rm -r .venv && script/setup"

TORCH = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda,
    "threads": torch.get_num_threads(),
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []}))
"""
INSTALLED = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in found if d.name}))
"""
MODEL = """
import json, os, sys
from fetching.manifest import GROUPS
from fetching.store import COMPLETE, Store
from pipeline.config import config_names
from service.settings import Settings
settings = Settings.read()
told = {"model": settings.model, "features": settings.features, "known": list(config_names()), "groups": {}}
if os.path.isdir(os.path.join("models", settings.model)):
    told["kind"] = "embedded"
elif settings.model in told["known"]:
    store = Store(settings.model)
    told["kind"], told["directory"] = "published", str(store.directory)
    for group in GROUPS:
        states = {entry.path: store.state(entry) for entry in store.entries([group]) if not entry.optional}
        told["groups"][group] = {path: state for path, state in states.items() if state not in COMPLETE}
else:
    told["kind"] = "directory" if os.path.isdir(settings.model) else "unknown"
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report: what it is about, whether it is good, what was found, and what to do."""

    name: str
    status: str
    found: str
    todo: str = ""


def gigabytes(count: float | None) -> str:
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"


def ask(code: str, *arguments: str) -> tuple[dict | None, str]:
    """What `code` prints as JSON under .venv's Python, or None and why there is nothing."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")])),
    }
    status, output = machine.run([str(VENV), "-c", code, *arguments], cwd=str(ROOT), env=environment)
    if status != 0:
        return None, machine.last_line(output)
    try:
        return json.loads(machine.last_line(output) if "\n" in output.strip() else output), ""
    except ValueError:
        return None, f"no answer: {machine.last_line(output)}"


def environment() -> Iterator[Finding]:
    """Python, torch and the packages of .venv."""
    python = shutil.which("python3.11")
    if not VENV.exists():
        found = f"{platform.python_version()} runs this; .venv is not made yet"
        todo = "script/setup" if python else "install python3.11 and python3.11-venv, then script/setup"
        yield Finding("python", MISSING, found, todo)
        return
    told, problem = ask("import json, sys; print(json.dumps({'version': sys.version_info[:3]}))")
    if told is None:
        yield Finding("python", MISSING, f".venv's Python does not run: {problem}", REMAKE)
        return
    right = tuple(told["version"][:2]) == PYTHON
    version = ".".join(map(str, told["version"]))
    yield Finding("python", OK if right else MISSING, f"{version} in .venv", "" if right else REMAKE)
    torch, problem = ask(TORCH)
    if torch is None:
        yield Finding("torch", MISSING, f"cannot be imported: {problem}", REMAKE)
        return
    yield Finding("torch", OK, f"{torch['version']}, {torch['threads']} threads")
    yield packages()
    yield gpu(torch)


def packages() -> Finding:
    """Whether each listed package is installed at the version it is pinned to. torch is looked at by itself:
    a CPU build has another version."""
    installed, problem = ask(INSTALLED)
    if installed is None:
        return Finding("packages", MISSING, f"cannot be listed: {problem}", REMAKE)
    lines = [
        line.partition("#")[0].strip() for name in LISTS for line in (ROOT / name).read_text().splitlines()
    ]
    wrong = []
    for name, pin in (re.match(r"([\w.-]+)(?:==(\S+))?", line).groups() for line in lines if line):
        have = installed.get(name.lower().replace("_", "-"))
        if name != "torch" and (have is None or (pin and have.partition("+")[0] != pin)):
            wrong.append(f"{name} is {have or 'not installed'}" + (f", pinned to {pin}" if pin else ""))
    if wrong:
        return Finding("packages", MISSING, "; ".join(wrong), REMAKE)
    return Finding("packages", OK, "all of requirements.txt")


def gpu(torch: dict) -> Finding:
    """The GPU and whether torch can use it; a CPU serves as well, so nothing here is missing."""
    found, reason = machine.gpus()
    if not found:
        return Finding("gpu", NOTE, f"none ({reason}): the CPU is used")
    told = "; ".join(
        f"{g['name']}, {g['total_mib']} MiB ({g['free_mib']} free), driver {g['driver']}" for g in found
    )
    if torch["devices"]:
        return Finding("gpu", OK, f"{told}; torch with CUDA {torch['cuda']} uses it")
    if torch["cuda"] is None:
        return Finding("gpu", NOTE, f"{told}; torch is a CPU build", "INDEXTTS_TORCH=cuda script/setup")
    needed = DRIVERS.get(torch["cuda"])
    wanted = f" (it comes with driver {needed})" if needed else ""
    return Finding(
        "gpu", NOTE, f"{told}; torch's CUDA {torch['cuda']} does not start", f"update the driver{wanted}"
    )


def model() -> Iterator[Finding]:
    """The served model and what each of its features still needs."""
    told, problem = ask(MODEL)
    if told is None:
        yield Finding(
            "model",
            MISSING,
            f"cannot be looked up: {problem}",
            "mend what is missing above, then run this again",
        )
        return
    name = told["model"]
    if told["kind"] == "unknown":
        todo = f"set INDEXTTS_MODEL to one of {', '.join(told['known'])}, or to a model directory"
        yield Finding(
            "model", MISSING, f"INDEXTTS_MODEL is '{name}', which is neither known nor a directory", todo
        )
    elif told["kind"] != "published":
        where = "part of this repository" if told["kind"] == "embedded" else "a model directory"
        yield Finding("model", OK, f"{name}: {where}")
        for feature in told["features"]:
            if told["kind"] == "embedded":
                yield Finding(feature, NOTE, f"{name} has no weights for it", "INDEXTTS_MODEL=indextts2")
    else:
        yield from published(told, name)
    yield Finding("streaming", OK, "script/serve --stream, or the image of cog.stream.yaml")


def published(told: dict, name: str) -> Iterator[Finding]:
    directory = Path(told["directory"])
    free, writable = machine.free_bytes(directory), machine.is_writable(directory)
    fetch = f".venv/bin/python weights.py fetch --model {name}"
    wanted = {"core", *told["features"]}
    for group, files in told["groups"].items():
        title = "model" if group == "core" else group
        if not files:
            yield Finding(title, OK, f"{name}: weights of '{group}' are complete in {directory}")
        elif group in wanted:
            listed = ", ".join(f"{path} ({state})" for path, state in list(files.items())[:3])
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            yield Finding(
                title, MISSING, f"{name}: {listed}{more} in {directory}", f"{fetch} --group {group}"
            )
        else:
            yield Finding(title, NOTE, f"switched off by INDEXTTS_FEATURES; {len(files)} files are not there")
    if not any(told["groups"][group] for group in wanted):
        return
    if not writable:
        todo = "set INDEXTTS_WEIGHTS_DIR to a folder that can be written, or mount one with the files"
        yield Finding("disk", MISSING, f"{directory} cannot be written", todo)
    elif free < WEIGHTS_BYTES:
        todo = "free some, set INDEXTTS_WEIGHTS_DIR to another disk, or leave groups out of INDEXTTS_FEATURES"
        yield Finding(
            "disk",
            MISSING,
            f"{gigabytes(free)} free; all weights take up to {gigabytes(WEIGHTS_BYTES)}",
            todo,
        )
    else:
        yield Finding("disk", OK, f"{gigabytes(free)} free for weights in {directory}")
