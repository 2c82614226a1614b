"""Every fenced block of the documents is run as it stands, but for those that say why not."""

import json
import logging
import os
import shlex
import subprocess
import tempfile

import pytest

from tests.commands import load_command
from tests.conftest import KEPT, ROOT
from tests.snippets import Snippet, read_snippets, snippets

ADDRESS = "http://localhost:5000"  # in the documents
LINKED = (
    "script",
    "examples",
    "tests",
    "configs",
    "models",
    ".venv",
    "requirements.txt",
    "requirements-dev.txt",
)
# Commands run in this process, which has imported what they need; each has a test as a process of its own.
COMMANDS = {"script/predict": "predict", "script/voice": "voice"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory like a checkout's, so that what a snippet writes is not written there."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("INDEXTTS_") and name != KEPT]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)  # the predictor sets it
    level = logging.getLogger().level
    yield tmp_path
    logging.getLogger().setLevel(level)


def run_command(words: list[str]) -> None:
    assert not load_command(COMMANDS[words[0]]).main(words[1:]), words


def run_as_process(code: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_shell(snippet: Snippet, url: str) -> None:
    lines = [shlex.split(line, comments=True) for line in snippet.code.splitlines()]
    if all(words[0] in COMMANDS for words in lines if words):
        for words in filter(None, lines):
            run_command(words)
    else:
        told = run_as_process(snippet.code.replace(ADDRESS, url))
        if ADDRESS in snippet.code:
            assert json.loads(told)["status"] == "succeeded", told


@pytest.mark.parametrize("server", ["tiny-en"], indirect=True)
@pytest.mark.parametrize("snippet", snippets("sh", "python"), ids=str)
def test_it_does_what_it_is_there_for(snippet, server, folder):
    server.wait_until_ready()
    if snippet.language == "sh":
        run_shell(snippet, server.url)
    else:
        exec(
            compile(snippet.code.replace(ADDRESS, server.url), str(snippet), "exec"), {"__name__": "snippet"}
        )
    if "out.wav" in snippet.code:
        assert (folder / "out.wav").read_bytes()[:4] == b"RIFF"


def test_each_is_run_or_says_why_not():
    """The browser's is run by test_browser.py."""
    assert {s.language for s in snippets()} <= {"sh", "python", "js"}, [str(s) for s in snippets()]
    assert len(snippets("js")) == 1 and len(snippets("sh")) >= 4 and len(snippets("python")) >= 2


def test_a_reason_counts_directly_before_the_fence_only():
    text = "<!-- not run: slow -->\n```sh\na\n```\n\n<!-- not run: far -->\n\n```python\nb\n```\n"
    assert [(s.language, s.code, s.reason) for s in read_snippets("x.md", text)] == [
        ("sh", "a\n", "slow"),
        ("python", "b\n", None),
    ]
    with pytest.raises(AssertionError, match="another form"):
        read_snippets("x.md", "  ```sh\nx\n  ```\n")
