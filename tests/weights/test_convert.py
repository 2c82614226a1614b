"""Pickles to safetensors: the same tensors as read directly, nothing executed, little memory."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.utils.parametrizations import weight_norm

from fetching.convert import Rewriter, copy_path
from fetching.manifest import GROUPS, Entry, load_manifest
from fetching.verify import hash_file, safetensors_defect
from pipeline.checkpoints import CHECKPOINTS, LAYOUTS
from pipeline.config import load_config
from pipeline.loading import converted_path, read_checkpoint
from pipeline.state_dict import fold_weight_norm
from tests.weights.conftest import Project
from tests.weights.test_cli import run_cli
from weights import RULES, WeightsError, ensure

PICKLES = ["gpt", "s2mel", "semantic_stats", "speaker_matrix", "vocoder"]


def published() -> dict[str, object]:
    """What the pickles of a published model hold, small: name in the checkpoint table -> content."""
    make = torch.Generator().manual_seed(3)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make)

    normed = {"conv.weight_g": random(6, 1, 1), "conv.weight_v": random(6, 4, 3), "conv.bias": random(6)}
    return {
        "gpt": {
            "model": {
                "text_embedding.weight": random(12, 8),
                "final_norm.bias": random(8),
                "gpt.h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool),
                "step": torch.tensor(7),
            }
        },
        "s2mel": {
            "net": {
                "cfm": {f"module.estimator.{key}": value for key, value in normed.items()},
                "length_regulator": {"model.0.weight": random(4, 4, 3).transpose(0, 2)},
                "gpt_layer": {"0.weight": random(4, 8).double()},
                "vocal_tract": {"w": random(2)},
            },
            "optimizer": {"lr": 0.1},
            "epoch": 3,
        },
        "semantic_stats": {"mean": random(16), "var": random(16).square()},
        "speaker_matrix": random(9, 5),
        "vocoder": {
            "generator": {
                "conv_pre.weight_g": random(3, 1, 1),
                "conv_pre.weight_v": random(3, 2, 7),
                "ups.0.0.bias": random(3),
            }
        },
    }


def list_pickles(project: Project) -> None:
    project.files(
        [
            {"file": CHECKPOINTS[name].file, "convert": name, "keep_float32": name == "semantic_stats"}
            for name in PICKLES
        ]
    )


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Project:
    """The published pickles, converted to float32. Not to be changed: `copied` is for that."""
    project = Project(tmp_path_factory.mktemp("converted"))
    for name, content in published().items():
        path = project.directory / CHECKPOINTS[name].file
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
    list_pickles(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        ensure(**project.arguments)
    return project


@pytest.fixture
def copied(converted: Project, project: Project, monkeypatch) -> Project:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(converted.directory, project.directory, copy_function=shutil.copy2)
    list_pickles(project)
    return project


@pytest.fixture(scope="module")
def rewriter() -> Iterator[Rewriter]:
    with Rewriter() as rewriter:
        yield rewriter


def rewrite(rewriter: Rewriter, source: Path, rule: str, dtype: str = "float32") -> dict:
    """Convert one pickle in the converting process; its report."""
    task = {
        "source": str(source),
        "target": str(source.with_suffix(".safetensors")),
        "dtype": dtype,
        "sections": [dataclasses.asdict(section) for section in RULES[rule]],
        "metadata": {},
    }
    return rewriter.run(task, Entry(source.name, "org/model", "main", source.name, "core"))


def read_all(directory: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Every section by the project's own loader, weight norm folded as it is for a module."""
    return {
        f"{name}.{section}": fold_weight_norm(state.tensors)
        for name in PICKLES
        for section, state in read_checkpoint(directory, CHECKPOINTS[name]).items()
    }


def test_converted_files_hold_what_the_pickles_hold(converted, tmp_path):
    for name in PICKLES:
        (tmp_path / CHECKPOINTS[name].file).parent.mkdir(exist_ok=True)
        shutil.copy(converted.directory / CHECKPOINTS[name].file, tmp_path / CHECKPOINTS[name].file)
        assert converted_path(converted.directory / CHECKPOINTS[name].file).is_file()
    direct, copies = read_all(tmp_path), read_all(converted.directory)
    assert direct.keys() == copies.keys()
    for section, tensors in direct.items():
        assert tensors.keys() == copies[section].keys(), section
        for key, tensor in tensors.items():
            copy = copies[section][key]
            assert copy.shape == tensor.shape
            assert torch.equal(copy, tensor.float() if tensor.is_floating_point() else tensor), (section, key)


def test_copy_has_plain_keys_and_records_its_source(converted):
    copy, source = converted.directory / "s2mel.safetensors", converted.directory / "s2mel.pth"
    with safe_open(copy, "pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
    assert keys == {
        "cfm.estimator.conv.weight",
        "cfm.estimator.conv.bias",
        "length_regulator.model.0.weight",
        "gpt_layer.0.weight",
    }
    assert metadata == {"source": "s2mel.pth", "source_sha256": hash_file(source).sha256, "dtype": "float32"}
    assert safetensors_defect(copy, copy.stat().st_size) is None


def test_weight_norm_is_folded_as_torch_computes_it(rewriter, tmp_path):
    module = weight_norm(torch.nn.Conv1d(4, 6, 3))
    state = {
        "ups.0.0.weight_g": module.parametrizations.weight.original0.detach(),
        "ups.0.0.weight_v": module.parametrizations.weight.original1.detach(),
    }
    torch.save({"generator": state}, tmp_path / "generator.pt")
    rewrite(rewriter, tmp_path / "generator.pt", "vocoder")
    with safe_open(tmp_path / "generator.safetensors", "pt") as file:
        assert list(file.keys()) == ["ups.0.0.weight"]
        torch.testing.assert_close(file.get_tensor("ups.0.0.weight"), module.weight.detach())


def test_float16_is_the_rounded_float32_and_small_exact_files_stay(copied, converted):
    ensure(**copied.arguments, dtype="float16")
    exact = read_all(converted.directory)
    for section, tensors in read_all(copied.directory).items():
        for key, tensor in tensors.items():
            reference = exact[section][key]
            if not reference.is_floating_point() or section.startswith("semantic_stats"):
                assert torch.equal(tensor, reference)
            else:
                assert tensor.dtype == torch.float16 and torch.equal(tensor, reference.half())


def test_unknown_dtype_is_refused(copied):
    with pytest.raises(WeightsError, match="dtype is 'int8'; allowed: float32, float16"):
        ensure(**copied.arguments, dtype="int8")


def test_value_beyond_float16_is_refused_by_name(rewriter, tmp_path):
    torch.save({"model": {"final_norm.weight": torch.tensor([1.0, 1e6])}}, tmp_path / "gpt.pth")
    with pytest.raises(
        WeightsError, match=r"gpt.pth: not converted: final_norm.weight does not fit float16.* 1e\+06"
    ):
        rewrite(rewriter, tmp_path / "gpt.pth", "gpt", "float16")


def test_entries_that_are_not_read_are_reported(rewriter, copied):
    assert rewrite(rewriter, copied.directory / "s2mel.pth", "s2mel")["unused"] == (
        "optimizer, epoch, net.vocal_tract"
    )


def test_denoiser_is_read_from_under_its_key(rewriter, tmp_path):
    torch.save({"model": {"module.mask.weight": torch.ones(2, 3)}, "epoch": 8}, tmp_path / "best.pt")
    assert rewrite(rewriter, tmp_path / "best.pt", "denoiser")["unused"] == "epoch"
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert list(file.keys()) == ["mask.weight"]


def test_copy_is_made_once(copied):
    made = {path: path.stat().st_mtime_ns for path in copied.directory.rglob("*.safetensors")}
    ensure(**copied.arguments)
    assert len(made) == len(PICKLES) and made == {path: path.stat().st_mtime_ns for path in made}


def test_copy_is_made_again_when_its_source_or_it_changes(copied):
    torch.save({"mean": torch.ones(16), "var": torch.ones(16)}, copied.directory / "wav2vec2bert_stats.pt")
    (copied.directory / "feat1.safetensors").write_bytes(b"damaged")
    ensure(**copied.arguments)
    states = read_all(copied.directory)
    assert torch.equal(states["semantic_stats."]["mean"], torch.ones(16))
    assert states["speaker_matrix."]["matrix"].shape == (9, 5)


def test_removed_sources_are_not_missed(copied):
    assert run_cli(copied, "convert", "--remove-sources").returncode == 0
    assert not [path for path in copied.present() if not path.endswith(".safetensors")]
    ensure(**copied.arguments)
    assert run_cli(copied, "status").returncode == 0
    with pytest.raises(WeightsError, match="converted and cannot be converted to float16: run .* fetch"):
        ensure(**copied.arguments, dtype="float16")


# --- pickles that want more than tensors ------------------------------------------------------


class Evil:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def evil_pickle(path: Path, marker: Path, form: str) -> None:
    content = {"model": {"weight": torch.ones(2), "more": Evil(marker)}}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content["model"]["more"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_evil_pickle_is_refused_by_file_and_global_and_not_executed(rewriter, tmp_path, form):
    marker, path = tmp_path / "marker", tmp_path / "gpt.pth"
    evil_pickle(path, marker, form)
    with pytest.raises(WeightsError, match=r"gpt\.pth: not converted: .*posix\.system"):
        rewrite(rewriter, path, "gpt")
    assert not marker.exists()
    if form != "bare pickle":  # the trap is a real one
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_evil_pickle_keeps_the_service_from_starting(project, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    project.directory.mkdir()
    evil_pickle(project.directory / "gpt.pth", tmp_path / "marker", "zip")
    project.files([{"file": "gpt.pth", "convert": "gpt"}])
    with pytest.raises(WeightsError, match=r"gpt\.pth: not converted: .*posix\.system"):
        ensure(**project.arguments)
    assert project.present() == ["gpt.pth"] and not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "rule, content, says",
    [
        ("gpt", {"model": {"weight": [1, 2]}}, "not tensors: weight"),
        ("gpt", {"model": {}}, "expected a state dict"),
        ("s2mel", {"net": {"cfm": {"w": torch.ones(1)}}}, "no entry 'net.length_regulator'"),
        ("speaker", {"w": torch.ones(2, dtype=torch.complex64)}, "w is torch.complex64"),
        ("vocoder", {"generator": {"c.weight_g": torch.ones(2)}}, "has no c.weight_v"),
    ],
)
def test_pickle_of_another_kind_is_refused(rewriter, tmp_path, rule, content, says):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=f"file.pth: not converted: .*{says}"):
        rewrite(rewriter, tmp_path / "file.pth", rule)


def test_process_that_dies_is_reported(copied):
    with Rewriter() as rewriter:
        rewriter.process.kill()
        with pytest.raises(WeightsError, match="gpt.pth: conversion ended with signal 9"):
            rewrite(rewriter, copied.directory / "gpt.pth", "gpt")


def test_reader_of_pickles_gets_no_token(monkeypatch):
    secrets = {"HF_TOKEN": "hf_secret", "INDEXTTS_WEIGHTS_URL": "https://x/?signature=s", "AWS_SECRET": "s"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with Rewriter() as rewriter:
        given = []
        while given in ([], [""]):  # it is empty for a moment while the program is being started
            given = Path(f"/proc/{rewriter.process.pid}/environ").read_bytes().decode().split("\0")
    names = {line.partition("=")[0] for line in given}
    assert "PATH" in names and not names & set(secrets)


# --- memory -----------------------------------------------------------------------------------


def test_memory_stays_near_the_size_of_the_file(tmp_path):
    """Every tensor is folded and cast, which done at once would take the file's size again."""
    torch.save({"generator": {"conv_pre.bias": torch.ones(1)}}, tmp_path / "tiny.pt")
    state = {}
    for index in range(12):
        state |= {
            f"ups.{index}.0.weight_g": torch.ones(1024, 1, 1),
            f"ups.{index}.0.weight_v": torch.ones(1024, 1024, 4),
        }
    torch.save({"generator": state}, tmp_path / "large.pt")
    del state
    size = (tmp_path / "large.pt").stat().st_size
    with Rewriter() as rewriter:
        torch_alone = rewrite(rewriter, tmp_path / "tiny.pt", "vocoder")["peak_bytes"]
        for dtype in ("float32", "float16"):
            assert (
                rewrite(rewriter, tmp_path / "large.pt", "vocoder", dtype)["peak_bytes"] - torch_alone
                < 1.4 * size
            )


# --- the real manifest ------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["indextts2", "indextts2.5"])
def test_every_published_pickle_is_converted_as_the_loader_reads_it(model):
    entries = load_manifest().entries(model, GROUPS)
    rules = {entry.path: RULES[entry.rule] for entry in entries if entry.rule}
    checkpoints = LAYOUTS[load_config(model).layout].values()
    pickled = {
        checkpoint.file: tuple(checkpoint.sections.values())
        for checkpoint in checkpoints
        if not checkpoint.file.endswith(".safetensors")
    }
    assert rules == pickled
    paths = {entry.path for entry in entries}
    assert {checkpoint.file for checkpoint in checkpoints} | {load_config(model).vocabulary} <= paths
    for entry in entries:
        if entry.rule:
            assert Path(copy_path(entry)) == converted_path(Path(entry.path))
    assert {entry.convert for entry in entries if entry.names_checkpoint} <= RULES.keys()
