"""Pickles to safetensors: the same tensors as read directly, nothing executed, little memory."""
from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.utils.parametrizations import weight_norm

from fetching.convert import copy_path
from fetching.manifest import GROUPS, ROOT, load_manifest
from fetching.rewrite import OTHER_SECTIONS
from fetching.verify import safetensors_defect
from pipeline.loading import CHECKPOINTS, converted_path, fold_weight_norm, read_checkpoint, strip_prefix
from tests.weights.conftest import Project
from tests.weights.test_cli import run_cli
from weights import WeightsError, ensure

PICKLES = ["gpt", "s2mel", "semantic_stats", "speaker_matrix", "vocoder"]


def published() -> dict[str, object]:
    """What the pickles of a published model hold, small: name in the checkpoint table -> content."""
    make = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make)

    normed = {"conv.weight_g": random(6, 1, 1), "conv.weight_v": random(6, 4, 3), "conv.bias": random(6)}
    return {
        "gpt": {"model": {"text_embedding.weight": random(12, 8), "final_norm.bias": random(8),
                          "gpt.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool), "step": torch.tensor(7)}},
        "s2mel": {"net": {"cfm": {f"module.estimator.{key}": value for key, value in normed.items()},
                          "length_regulator": {"model.0.weight": random(4, 4, 3).transpose(0, 2)},
                          "gpt_layer": {"0.weight": random(4, 8).double()}, "vocal_tract": {"w": random(2)}},
                  "optimizer": {"lr": 0.1}, "epoch": 3},
        "semantic_stats": {"mean": random(16), "var": random(16).square()},
        "speaker_matrix": random(9, 5),
        "vocoder": {"generator": {"conv_pre.weight_g": random(3, 1, 1), "conv_pre.weight_v": random(3, 2, 7),
                                  "ups.0.0.bias": random(3)}},
    }


@pytest.fixture
def pickles(project: Project) -> Project:
    """The published pickles in the project's directory and manifest."""
    listed = []
    for name, content in published().items():
        file = CHECKPOINTS[name].file
        path = project.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        listed.append({"file": file, "convert": name, "keep_float32": name == "semantic_stats"})
    project.files(listed)
    return project


def read_all(directory: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every section by the project's own loader, weight norm folded as it is for a module."""
    return {f"{name}.{section}": fold_weight_norm(state.tensors)
            for name in PICKLES for section, state in read_checkpoint(directory, name).items()}


def test_converted_files_hold_what_the_pickles_hold(pickles):
    before = read_all(pickles.directory)
    ensure(**pickles.arguments)
    for name in PICKLES:
        pickle_path = pickles.directory / CHECKPOINTS[name].file
        assert converted_path(pickle_path).is_file()
        pickle_path.unlink()  # what follows is read from the copies
    after = read_all(pickles.directory)
    assert before.keys() == after.keys()
    for section, tensors in before.items():
        assert tensors.keys() == after[section].keys(), section
        for key, tensor in tensors.items():
            copy = after[section][key]
            assert copy.shape == tensor.shape
            assert torch.equal(copy, tensor.float() if tensor.is_floating_point() else tensor), (section, key)


def test_weight_norm_is_folded_as_torch_computes_it(project):
    module = weight_norm(torch.nn.Conv1d(4, 6, 3))
    state = {"ups.0.0.weight_g": module.parametrizations.weight.original0.detach(),
             "ups.0.0.weight_v": module.parametrizations.weight.original1.detach()}
    (project.directory / "bigvgan").mkdir(parents=True)
    torch.save({"generator": state}, project.directory / "bigvgan/bigvgan_generator.pt")
    project.files([{"file": "bigvgan/bigvgan_generator.pt", "convert": "vocoder"}])
    ensure(**project.arguments)
    with safe_open(project.directory / "bigvgan/bigvgan_generator.safetensors", "pt") as file:
        assert list(file.keys()) == ["ups.0.0.weight"]
        torch.testing.assert_close(file.get_tensor("ups.0.0.weight"), module.weight.detach())


def test_float16_is_the_rounded_float32_and_small_exact_files_stay(pickles):
    ensure(**pickles.arguments)
    exact = read_all(pickles.directory)
    ensure(**pickles.arguments, dtype="float16")
    for section, tensors in read_all(pickles.directory).items():
        for key, tensor in tensors.items():
            reference = exact[section][key]
            if not reference.is_floating_point() or section.startswith("semantic_stats"):
                assert torch.equal(tensor, reference)
            else:
                assert tensor.dtype == torch.float16 and torch.equal(tensor, reference.half())


def test_value_beyond_float16_is_refused_by_name(project):
    project.directory.mkdir()
    torch.save({"model": {"final_norm.weight": torch.tensor([1.0, 1e6])}}, project.directory / "gpt.pth")
    project.files([{"file": "gpt.pth", "convert": "gpt"}])
    with pytest.raises(WeightsError, match=r"gpt.pth: not converted: final_norm.weight does not fit float16.* 1e\+06"):
        ensure(**project.arguments, dtype="float16")
    assert project.present() == ["gpt.pth"]
    ensure(**project.arguments, dtype="float32")


def test_copy_records_its_source_and_is_made_once(pickles):
    ensure(**pickles.arguments)
    copy = pickles.directory / "s2mel.safetensors"
    with safe_open(copy, "pt") as file:
        metadata = file.metadata()
    assert metadata["source"] == "s2mel.pth" and metadata["dtype"] == "float32"
    assert metadata["source_sha256"] == sha256(pickles.directory / "s2mel.pth")
    made = copy.stat().st_mtime_ns
    ensure(**pickles.arguments)
    assert copy.stat().st_mtime_ns == made and safetensors_defect(copy, copy.stat().st_size) is None


def sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def test_copy_is_made_again_when_its_source_or_it_changes(pickles):
    ensure(**pickles.arguments)
    torch.save({"mean": torch.ones(16), "var": torch.ones(16)}, pickles.directory / "wav2vec2bert_stats.pt")
    (pickles.directory / "feat1.safetensors").write_bytes(b"damaged")
    ensure(**pickles.arguments)
    states = read_all(pickles.directory)
    assert torch.equal(states["semantic_stats."]["mean"], torch.ones(16))
    assert states["speaker_matrix."]["matrix"].shape == (9, 5)


def test_entries_that_are_not_read_are_logged(pickles, caplog):
    caplog.set_level("INFO", logger="fetching")
    ensure(**pickles.arguments)
    assert "s2mel.pth: entries left out: optimizer, epoch" in caplog.text


def test_removed_sources_are_not_missed(pickles):
    ensure(**pickles.arguments)
    assert run_cli(pickles, "convert", "--remove-sources").returncode == 0
    assert not list(pickles.directory.glob("*.p*t*"))
    ensure(**pickles.arguments)
    assert run_cli(pickles, "status").returncode == 0
    with pytest.raises(WeightsError, match="converted and cannot be converted to float16: run .* fetch"):
        ensure(**pickles.arguments, dtype="float16")


# --- pickles that want more than tensors ------------------------------------------------------

class Evil:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_evil_pickle_is_refused_by_file_and_global_and_not_executed(project, tmp_path, form):
    marker = tmp_path / "marker"
    content = {"model": {"weight": torch.ones(2), "more": Evil(marker)}}
    project.directory.mkdir()
    path = project.directory / "gpt.pth"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"model": Evil(marker)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    project.files([{"file": "gpt.pth", "convert": "gpt"}])
    with pytest.raises(WeightsError, match=r"gpt\.pth: not converted: .*posix\.system"):
        ensure(**project.arguments)
    assert not marker.exists()
    assert project.present() == ["gpt.pth"]
    if form != "bare pickle":  # the trap is a real one
        torch.load(path, weights_only=False)
        assert marker.exists()


@pytest.mark.parametrize("content, says", [
    ({"model": {"weight": [1, 2]}}, "not tensors: weight"), ({"model": {}}, "expected a state dict"),
    ({"net": {"cfm": {"w": torch.ones(1)}}}, "no entry 'net.length_regulator'"),
    ({"net": {key: {"w": torch.ones(2, dtype=torch.complex64)} for key in ("cfm", "length_regulator", "gpt_layer")}},
     "is torch.complex64"),
    ({"net": {key: {"c.weight_g": torch.ones(2)} for key in ("cfm", "length_regulator", "gpt_layer")}}, "has no")])
def test_pickle_of_another_kind_is_refused(project, content, says):
    rule = "gpt" if "model" in content else "s2mel"
    project.directory.mkdir()
    torch.save(content, project.directory / CHECKPOINTS[rule].file)
    project.files([{"file": CHECKPOINTS[rule].file, "convert": rule}])
    with pytest.raises(WeightsError, match=f"{CHECKPOINTS[rule].file}: not converted: .*{says}"):
        ensure(**project.arguments)
    assert project.present() == [CHECKPOINTS[rule].file]


def test_reader_of_pickles_gets_no_token(monkeypatch):
    from fetching.convert import ENVIRONMENT
    assert not [name for name in ENVIRONMENT if name.startswith(("HF", "INDEXTTS"))]


# --- memory -----------------------------------------------------------------------------------

def rewrite_alone(source: Path, target: Path, dtype: str) -> dict:
    """Run the converting process; its report has its peak memory."""
    task = {"source": str(source), "target": str(target), "rule": "vocoder", "dtype": dtype, "metadata": {}}
    done = subprocess.run([sys.executable, "-m", "fetching.rewrite"], input=json.dumps(task) + "\n", text=True,
                          cwd=ROOT, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_stays_near_the_size_of_the_file(tmp_path, dtype):
    """Every tensor is folded and cast, which done at once would take the file's size again."""
    torch.save({"generator": {"conv_pre.bias": torch.ones(1)}}, tmp_path / "tiny.pt")
    state = {}
    for index in range(16):
        state |= {f"ups.{index}.0.weight_g": torch.ones(1024, 1, 1), f"ups.{index}.0.weight_v": torch.ones(1024, 1024, 4)}
    torch.save({"generator": state}, tmp_path / "large.pt")
    size = (tmp_path / "large.pt").stat().st_size
    torch_alone = rewrite_alone(tmp_path / "tiny.pt", tmp_path / "tiny.safetensors", dtype)["peak_bytes"]
    peak = rewrite_alone(tmp_path / "large.pt", tmp_path / "large.safetensors", dtype)["peak_bytes"]
    assert peak - torch_alone < 1.4 * size


# --- the real manifest ------------------------------------------------------------------------

def test_every_published_pickle_is_converted_as_the_loader_reads_it():
    entries = load_manifest().entries("indextts2", GROUPS)
    rules = {entry.path: entry.rule for entry in entries if entry.rule}
    pickled = {checkpoint.file: name for name, checkpoint in CHECKPOINTS.items()
               if not checkpoint.file.endswith(".safetensors")}
    assert rules == pickled
    assert {checkpoint.file for checkpoint in CHECKPOINTS.values()} <= {entry.path for entry in entries}
    for entry in entries:
        if entry.rule:
            assert Path(copy_path(entry)) == converted_path(Path(entry.path))
    assert {entry.convert for entry in entries if entry.names_checkpoint} <= OTHER_SECTIONS.keys()


def test_strip_prefix_is_what_the_copies_are_made_with(pickles):
    ensure(**pickles.arguments)
    with safe_open(pickles.directory / "s2mel.safetensors", "pt") as file:
        keys = set(file.keys())
    assert keys == set(strip_prefix({key: None for key in keys}))
    assert "cfm.estimator.conv.weight" in keys and not any("vocal_tract" in key for key in keys)
