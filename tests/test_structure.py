"""The house rules that can be read off the source: who may import whom, what the builds install."""
import ast
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

STAGES = {"text", "conditioning", "gpt", "s2mel", "vocoder"}
BASE = {"config", "audio", "audio_input", "loading", "timing"}
# what becomes of the waves: knows waves and numbers, and only the wiring knows it
OUTPUT = {"finish", "audio_output", "receipt"}
# `model` gathers the stages' modules; `voice` is what a reference becomes through several of them
WIRING = {"model", "synthesize", "service", "deterministic", "published", "catalog", "request", "reference",
          "budget", "speak", "result", "workspace"}
WIRING_FILES = {"pipeline/conditioning/voice.py", "pipeline/conditioning/voice_file.py"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def package_parts(path: Path) -> set[str]:
    """The parts of pipeline/ that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("pipeline.")}


def test_stages_do_not_import_one_another():
    for path in sources("pipeline"):
        relative = path.relative_to(ROOT).as_posix()
        stage = path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        if stage not in STAGES or relative in WIRING_FILES:
            continue
        others = package_parts(path) - BASE - {stage}
        assert not others, f"{relative} imports {others}"


def test_base_imports_no_stage():
    for path in sources("pipeline"):
        part = path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        if part in BASE:
            assert not package_parts(path) & (STAGES | OUTPUT | WIRING), path


def test_output_imports_only_base():
    for path in sources("pipeline"):
        part = path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")
        if part in OUTPUT:
            assert package_parts(path) <= BASE | {part}, path


def test_every_part_of_the_pipeline_is_placed():
    parts = {path.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py") for path in sources("pipeline")}
    assert parts <= STAGES | BASE | OUTPUT | WIRING | {"__init__"}


def test_only_predict_imports_cog():
    for path in [*sources("pipeline"), *sources("enhance"), *sources("checks"), ROOT / "weights.py"]:
        if path.is_file():
            assert not any(name.split(".")[0] in ("cog", "coglet", "predict") for name in imports(path)), path


def test_enhance_knows_no_model():
    allowed = {"audio", "audio_input", "loading"}
    for path in sources("enhance"):
        assert package_parts(path) <= allowed, path


def test_library_logs_instead_of_printing():
    for path in [*sources("pipeline"), *sources("enhance")]:
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls), path


@pytest.fixture(scope="module")
def cog_build() -> dict:
    return yaml.safe_load((ROOT / "cog.yaml").read_text())


def test_cog_and_docker_build_the_same_environment(cog_build):
    docker = (ROOT / "Dockerfile").read_text()
    build = cog_build["build"]
    assert f"FROM python:{build['python_version']}" in docker
    assert f"pip install --no-cache-dir -r {build['python_requirements']}" in docker
    installed = re.search(r"apt-get install -y --no-install-recommends ([\w .-]+)", docker)[1].split()
    assert installed == build["system_packages"]
    assert set(cog_build["environment"]) <= set(re.findall(r"(\w+=\S+)", docker))
    assert cog_build["predict"] in docker


def test_the_streaming_image_differs_in_its_predictor_alone(cog_build):
    stream = yaml.safe_load((ROOT / "cog.stream.yaml").read_text())
    assert stream.pop("predict") == "predict.py:StreamingPredictor"
    assert stream == {key: value for key, value in cog_build.items() if key != "predict"}


def test_cog_installs_what_is_listed_without_dependencies(cog_build):
    listed = (ROOT / "requirements-nodeps.txt").read_text().split()
    assert cog_build["build"]["run"] == [f"pip install --no-deps {' '.join(listed)}"]


def test_cog_pins_the_sdk_the_requirements_pin(cog_build):
    requirements = (ROOT / "requirements.txt").read_text()
    assert f"cog=={cog_build['build']['sdk_version']}\n" in requirements
    assert re.search(r"^torch==2\.1\d", requirements, re.M), "below 2.10 weights_only has known bypasses"


def test_scripts_are_executable():
    for path in [*(ROOT / "script").iterdir(), ROOT / ".ci/run"]:
        if path.is_file():
            assert path.stat().st_mode & 0o111, path
