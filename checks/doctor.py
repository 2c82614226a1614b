"""`script/doctor`: what this machine has, what each feature still needs, and what to do about it.

Needs nothing but Python's standard library; what is installed is asked in processes of its own, so that a
broken package is a line of the report. Exit status 0: everything that the served model needs is there; 1:
something is missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from checks import machine
from checks.installed import MISSING, NOTE, OK, Finding, environment, gigabytes, model

MARKS = {OK: "  ok   ", NOTE: "  note ", MISSING: "MISSING"}
CODECS = {
    "encoders": ("libmp3lame", "libvorbis", "libopus"),
    "decoders": ("aac", "opus", "amrnb", "amrwb", "alac"),
}
DEFAULT_PORT = 5000
ANSWER_SECONDS = 5.0


def host() -> Iterator[Finding]:
    cpu, memory = machine.cpu(), machine.memory()
    cores = f"{cpu['cores']} cores" + (f", limited to {cpu['quota']}" if cpu["quota"] else "")
    features = ", ".join(cpu["features"]) if cpu["features"] is not None else "features unknown"
    yield Finding("processor", OK, f"{cpu['name']}; {cores}; {features}")
    limit = f", limited to {gigabytes(memory['limit'])}" if memory["limit"] else ""
    yield Finding(
        "memory", OK, f"{gigabytes(memory['total'])}, {gigabytes(memory['available'])} available{limit}"
    )


def programs() -> Iterator[Finding]:
    absent = [name for name in ("ffmpeg", "ffprobe") if not shutil.which(name)]
    if absent:
        todo = "install it (Debian: apt-get install ffmpeg; macOS: brew install ffmpeg)"
        yield Finding("ffmpeg", MISSING, f"{' and '.join(absent)} not on PATH", todo)
    else:
        lacking = [name for names in machine.ffmpeg_codecs(CODECS).values() for name in names]
        found = (
            "reads and writes every format of the service" if not lacking else f"lacks {', '.join(lacking)}"
        )
        yield Finding("ffmpeg", NOTE if lacking else OK, found, "install a full build" if lacking else "")
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if compiler:
        yield Finding("compiler", OK, compiler)
    else:
        found = "none: the vocoder takes three times as long, here and in training"
        yield Finding("compiler", NOTE, found, "apt-get install g++")
    for name, purpose, todo in (
        ("docker", "docker build and cog build", "install Docker"),
        ("cog", "cog predict, cog build, cog push", "install the cog command: https://cog.run"),
        ("flite", "script/quality and training", "apt-get install flite"),
    ):
        path = shutil.which(name)
        if path is None:
            yield Finding(name, NOTE, f"not here; only {purpose} need it", todo)
        elif name == "docker" and (answer := machine.run(["docker", "info"], timeout=20))[0] != 0:
            yield Finding(
                name, NOTE, f"{path}, but: {machine.last_line(answer[1])}", "start the Docker daemon"
            )
        else:
            yield Finding(name, OK, path)


def port() -> Finding:
    text = os.getenv("PORT") or str(DEFAULT_PORT)
    if not text.isdigit() or not 0 < int(text) < 1 << 16:
        return Finding("port", MISSING, f"PORT is '{text[:40]}'; allowed: 1 to 65535", "unset PORT")
    if not machine.port_answers(int(text)):
        return Finding("port", OK, f"{text} is free")
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{text}/health-check", timeout=ANSWER_SECONDS
        ) as answer:
            status = json.load(answer)["status"]
        return Finding(
            "port",
            NOTE,
            f"{text}: a server answers, {status}",
            f"PORT={int(text) + 1} script/serve for another",
        )
    except (OSError, ValueError, KeyError, TypeError, urllib.error.URLError):
        return Finding(
            "port", NOTE, f"{text} is in use by something else", f"PORT={int(text) + 1} script/serve"
        )


def examine() -> list[Finding]:
    return [*host(), *environment(), *programs(), *model(), port()]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/doctor", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = examine()
    missing = [finding for finding in findings if finding.status == MISSING]
    if options.json:
        content = {"ready": not missing, "findings": [dataclasses.asdict(f) for f in findings]}
        print(json.dumps(content, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{MARKS[finding.status]} {finding.name.ljust(width)}  {finding.found}")
            if finding.todo:
                print(f"{' ' * (width + 9)} → {finding.todo}")
        print(
            f"{len(missing)} missing: {', '.join(f.name for f in missing)}"
            if missing
            else "everything needed is here"
        )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
