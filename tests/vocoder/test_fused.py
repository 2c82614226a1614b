"""The compiled activation for inference: PyTorch's values to 100 dB, and PyTorch itself where it cannot be
had.
"""

import copy
import math
import shutil
import subprocess
import sys

import pytest
import torch

from pipeline.vocoder import fused, kernel
from pipeline.vocoder.bigvgan import AntiAliasedSnake
from tests.conftest import ROOT

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
DECIBELS = 100
REACH = 8  # samples around one that its activation depends on


def decibels(ours: torch.Tensor, wanted: torch.Tensor) -> float:
    return 20 * math.log10(float(wanted.norm() / (ours - wanted).norm().clamp(min=1e-30)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of compiled kernels of this test's own."""
    monkeypatch.setattr(kernel, "FOLDER", tmp_path / "compiled")
    kernel.library.cache_clear()
    yield tmp_path / "compiled"
    kernel.library.cache_clear()


def copies(vocoder):
    quick = copy.deepcopy(vocoder)
    for part in quick.modules():
        if isinstance(part, fused.FusedSnake):
            part.__class__ = AntiAliasedSnake
    plain = copy.deepcopy(quick)
    return plain, quick


@needs_compiler
@torch.inference_mode()
def test_a_vocoder_gives_the_wave_it_gave_to_100_decibels(mini_model, generator):
    plain, quick = copies(mini_model.vocoder)
    assert fused.fuse(quick)
    assert any(isinstance(part, fused.FusedSnake) for part in quick.modules())
    for batch, frames in ((1, 1), (2, 7), (1, 60)):
        mel = torch.randn(batch, 80, frames, generator=generator) - 3
        assert decibels(quick(mel), plain(mel)) > DECIBELS


@needs_compiler
@torch.inference_mode()
def test_pieces_with_their_neighbours_are_the_whole(generator):
    layer = fused.FusedSnake(2)
    x = torch.randn(1, 2, 200, generator=generator)
    whole = layer(x)
    for start in range(0, 200, 40):
        first, last = max(0, start - REACH), min(200, start + 40 + REACH)
        piece = layer(x[..., first:last])[..., start - first : start - first + 40]
        torch.testing.assert_close(piece, whole[..., start : start + 40], rtol=0, atol=1e-6)


@needs_compiler
def test_denormal_numbers_survive_in_the_process_that_loads_it():
    program = (
        "import torch; from pipeline.vocoder import kernel; assert kernel.library() is not None;"
        "assert float(torch.full((64,), 1e-40) .mul(1.0).sum()) > 0"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


@needs_compiler
def test_it_is_built_once_and_a_damaged_file_is_made_again(folder, caplog):
    assert kernel.library() is not None
    (path,) = folder.glob("*.so")
    kernel.library.cache_clear()
    before = path.stat().st_mtime_ns
    assert kernel.library() is not None and path.stat().st_mtime_ns == before
    content = path.read_bytes()
    path.unlink()  # a loaded file must not change under the process
    path.write_bytes(content[:1000])
    kernel.library.cache_clear()
    assert kernel.library() is not None and "damaged" in caplog.text
    assert [kept.stat().st_size > 1000 for kept in folder.glob("*.so")] == [True]


@needs_compiler
def test_a_file_of_another_source_is_not_loaded(folder):
    folder.mkdir()
    (folder / f"vocoder-0000000000000000-{kernel.kind()}-0000000000000000.so").write_bytes(b"old")
    assert kernel.find(kernel.kind()) is None
    assert kernel.library() is not None


@torch.inference_mode()
def test_without_a_compiler_the_vocoder_stays_pytorchs_with_one_line_said(
    folder, monkeypatch, mini_model, caplog
):
    monkeypatch.setenv("PATH", str(folder))
    plain, quick = copies(mini_model.vocoder)
    assert not fused.fuse(quick)
    mel = torch.randn(1, 80, 4)
    assert torch.equal(quick(mel), plain(mel))
    assert (
        len(caplog.records) == 1 and "no fused activation" in caplog.text and "\n" not in caplog.messages[0]
    )


@needs_compiler
def test_a_compiler_that_fails_is_one_line(folder, monkeypatch, tmp_path, caplog):
    source = tmp_path / "antialias.cpp"
    source.write_text("this is no C++\n")
    monkeypatch.setattr(kernel, "SOURCES", (source,))
    assert kernel.library() is None
    assert "g++ failed" in caplog.text and "\n" not in caplog.messages[0]


def test_a_cpu_that_nothing_is_built_for_is_one_line(folder, monkeypatch, caplog):
    monkeypatch.setattr(kernel.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert kernel.library() is None
    assert "the CPU has DEFAULT; needed: AVX512 or AVX2" in caplog.text


@needs_compiler
def test_gradients_are_never_lost(generator):
    layer = fused.FusedSnake(2)
    x = torch.randn(1, 2, 9, generator=generator, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and layer.act.alpha.grad is not None
