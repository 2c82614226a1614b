"""Everything that comes from outside comes through weights.py, and weights.py knows nothing of models."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from fetching.manifest import ROOT

DOWNLOADERS = {
    "requests",
    "urllib3",
    "huggingface_hub",
    "httpx",
    "httpx2",
    "aiohttp",
    "gdown",
    "wget",
    "socket",
    "http.client",
    "urllib.request",
    "modelscope",
}
FETCHING = sorted((ROOT / "fetching").glob("*.py"))


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_but_weights_can_download():
    for path in [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "enhance").rglob("*.py"), ROOT / "predict.py"]:
        if path.exists():
            names = imported(path)
            assert not {name for name in names if name in DOWNLOADERS or name.split(".")[0] in DOWNLOADERS}, (
                path
            )


def test_only_the_rewriting_process_knows_checkpoints_and_torch():
    for path in [*FETCHING, ROOT / "weights.py"]:
        names = imported(path)
        ours = {".".join(name.split(".")[:2]) for name in names if name.startswith("pipeline")}
        others = {
            "pipeline.strict",
            "pipeline.checkpoints",
            "pipeline.child_environment",
        }  # none of them imports torch
        allowed = {"pipeline.checkpoints", "pipeline.state_dict"} if path.name == "rewrite.py" else others
        assert ours <= allowed, path
        assert "torch" not in names or path.name == "rewrite.py", path


@pytest.mark.parametrize("path", FETCHING, ids=lambda path: path.name)
def test_library_logs_instead_of_printing(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)


def test_warm_start_needs_neither_torch_nor_the_hub_library():
    code = "import sys, weights; print({'torch', 'huggingface_hub', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
