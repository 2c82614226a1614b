"""MossFormer2 with the real network: the recipe against clearvoice's own, alignment, windows, loading.

The trained weights cannot be had here. With deterministic ones quality says nothing; with the output layers
set so that the mask is 1 everywhere, what comes out must be what went in.
"""

import socket
from argparse import Namespace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from enhance.denoise import Denoiser
from enhance.mossformer2 import (
    DIRECTORY,
    POINTER,
    MaskNetwork,
    MossFormer2,
    Recipe,
    apply_mask,
    crossfade,
    windows,
)
from pipeline.audio import resample
from pipeline.deterministic import deterministic_state
from pipeline.state_dict import CheckpointError
from tests.enhance.material import RATE, speech, talk, white

SMALL = Recipe(channels=32, blocks=2)
SHORT_WINDOWS = Recipe(channels=32, blocks=2, window_seconds=0.5, overlap_seconds=0.125)
CLEARVOICE = Namespace(
    sampling_rate=48_000,
    one_time_decode_length=20,
    decode_window=4,
    win_type="hamming",
    win_len=1920,
    win_inc=384,
    fft_len=1920,
    num_mels=60,
)  # config/inference/MossFormer2_SE_48K.yaml


def state(recipe: Recipe) -> dict[str, torch.Tensor]:
    """Deterministic weights; the constants come as in a published file."""
    own = MaskNetwork(recipe).state_dict()
    made = deterministic_state({key: tuple(tensor.shape) for key, tensor in own.items()})
    return made | {key: own[key] for key in own if key.endswith(("freq", "freqs"))}


def with_mask(tensors: dict[str, torch.Tensor], value: float) -> dict[str, torch.Tensor]:
    """The same with output layers that make the mask `value` everywhere."""
    tensors = dict(tensors)
    for layer in ("output.0", "output_gate.0"):  # tanh(20) * sigmoid(20) = 1
        tensors[f"mossformer.{layer}.weight"] = torch.zeros_like(tensors[f"mossformer.{layer}.weight"])
        tensors[f"mossformer.{layer}.bias"] = torch.full_like(tensors[f"mossformer.{layer}.bias"], 20.0)
    decoder = tensors["mossformer.conv1_decoder.weight"]
    tensors["mossformer.conv1_decoder.weight"] = torch.full_like(decoder, value / decoder.shape[1])
    return tensors


def write(folder, content, name="last_best_checkpoint.pt"):
    directory = folder / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    (directory / POINTER).write_text(f"{name}\n")
    torch.save(content, directory / name)
    return folder


@pytest.fixture(scope="module")
def tensors():
    return state(SMALL)


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
    return write(tmp_path_factory.mktemp("denoise"), {"model": tensors, "epoch": 3})


@pytest.fixture(scope="module")
def transparent_weights(tensors, tmp_path_factory):
    return write(tmp_path_factory.mktemp("transparent"), {"model": with_mask(tensors, 1.0)})


def loaded(weights, **options) -> Denoiser:
    return Denoiser(MossFormer2(weights, **options))


@pytest.fixture(scope="module")
def denoiser(weights):
    return loaded(weights, recipe=SMALL)


@pytest.fixture(scope="module")
def transparent(transparent_weights):
    return loaded(transparent_weights, recipe=SMALL)


def test_one_window_is_what_clearvoice_computes(denoiser):
    """Its own decoding function over the same frames. It draws dither at random: a loud signal hides that."""
    length = 48_000
    loud = 0.2 * white(length)[0]
    ours = apply_mask(denoiser.network.network, loud, SMALL)
    before = SMALL.n_fft - SMALL.hop
    after = (-(before + length)) % SMALL.hop + before
    padded = torch.nn.functional.pad(loud, (before, after))[None].numpy()
    torch.manual_seed(0)
    from clearvoice.utils.decode import decode_one_audio_mossformer2_se_48k  # which takes seconds

    theirs = decode_one_audio_mossformer2_se_48k(
        lambda x: [denoiser.network.network(x)], "cpu", padded, CLEARVOICE
    )
    theirs = torch.from_numpy(theirs[before : before + length])
    assert (ours - loud).norm() > 0.1 * loud.norm(), "a mask that does nothing would prove nothing"
    assert (ours - theirs).norm() < 1e-3 * theirs.norm()


@pytest.mark.parametrize("rate", (8_000, 16_000, 22_050, 44_100, 48_000, 192_000))
def test_output_is_aligned_and_as_long_and_loud(transparent, rate):
    clip = resample(speech("slt_1")[:, : 2 * RATE], RATE, rate)[:, : 2 * rate - 7]
    clean = transparent(clip, rate)
    assert clean.shape == clip.shape and clean.dtype == torch.float32
    spectrum = torch.fft.rfft(clean[0], 4 * rate) * torch.fft.rfft(clip[0], 4 * rate).conj()
    assert torch.fft.irfft(spectrum).argmax() == 0, "cross-correlation peaks at another lag than 0"
    assert (clean - clip).norm() < 0.05 * clip.norm()  # resampling there and back loses what lies at the edge


def test_every_sample_comes_back_ends_included(transparent):
    for length in (1, 383, 1_919, 48_001, 48_383):
        clip = 0.3 * white(length)
        torch.testing.assert_close(transparent(clip, 48_000), clip, atol=1e-5, rtol=0)


def test_the_mask_sets_the_level(tensors, tmp_path):
    halving = loaded(write(tmp_path, {"model": with_mask(tensors, 0.5)}), recipe=SMALL)
    clip = 0.3 * white(48_000)
    torch.testing.assert_close(halving(clip, 48_000), clip / 2, atol=1e-5, rtol=0)


def test_windows_join_without_a_seam(transparent_weights, weights):
    clip = resample(talk(2.3), RATE, 48_000)
    clear = loaded(transparent_weights, recipe=SHORT_WINDOWS)(clip, 48_000)
    torch.testing.assert_close(clear, clip, atol=1e-5, rtol=0)
    # with any mask: no step where windows meet is larger than steps elsewhere
    masked = loaded(weights, recipe=SHORT_WINDOWS)(clip, 48_000)[0]
    steps = masked.diff().abs()
    seams = [edge for bounds in windows(clip.shape[1], 24_000, 6_000) for edge in bounds][1:-1]
    assert max(steps[edge - 3 : edge + 3].max() for edge in seams) < 0.5 * steps.max()


@pytest.mark.parametrize("length", (1, 99, 100, 101, 190, 191, 1_000, 12_345))
def test_windows_cover_everything_once_faded(length):
    bounds = list(windows(length, 100, 10))
    assert bounds[0][0] == 0 and bounds[-1][1] == length
    assert all(end - start <= 100 for start, end in bounds)
    assert all(second[0] == first[1] - 10 for first, second in pairwise(bounds))
    total = torch.zeros(length)
    for start, end in bounds:
        total[start:end] += crossfade(end - start, 10 if start else 0, 10 if end < length else 0)
    torch.testing.assert_close(total, torch.ones(length))


def test_no_window_is_longer_than_the_recipe_says(weights):
    denoiser, seen = loaded(weights, recipe=SHORT_WINDOWS), []
    denoiser.network.network.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape[1])
    )
    denoiser(talk(2), RATE)
    assert len(seen) == 5
    assert max(seen) <= 0.5 * 48_000 / 384 + 5  # and the silence around it


def test_the_same_clip_gives_the_same_bytes_and_no_graph(denoiser, weights):
    clip = speech("rms_1")[:, :RATE]
    torch.manual_seed(1)
    first = denoiser(clip, RATE)
    torch.manual_seed(2)
    assert torch.equal(first, denoiser(clip.clone().requires_grad_(), RATE))
    assert torch.equal(first, loaded(weights, recipe=SMALL)(clip, RATE))
    assert not first.requires_grad and not first.is_inference()
    assert torch.isfinite(denoiser(torch.zeros(1, RATE), RATE)).all()


def test_nothing_is_fetched(weights, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded(weights, recipe=SMALL)(talk(0.5), RATE)
    with pytest.raises(CheckpointError):
        loaded(tmp_path, recipe=SMALL)


def test_a_converted_copy_and_a_bare_state_load_the_same(denoiser, tensors, tmp_path):
    clip = talk(0.5)
    bare = loaded(
        write(tmp_path / "bare", {f"module.{key}": value for key, value in tensors.items()}), recipe=SMALL
    )
    assert torch.equal(bare(clip, RATE), denoiser(clip, RATE))
    converted = write(tmp_path / "converted", {"model": {}})
    (converted / DIRECTORY / "last_best_checkpoint.pt").unlink()
    save_file(
        {key: value.clone() for key, value in tensors.items()},
        converted / DIRECTORY / "last_best_checkpoint.safetensors",
    )
    assert torch.equal(loaded(converted, recipe=SMALL)(clip, RATE), denoiser(clip, RATE))


def test_constants_may_be_absent_and_are_never_taken(denoiser, tensors, tmp_path):
    clip = talk(0.5)
    without = {key: value for key, value in tensors.items() if not key.endswith(("freq", "freqs"))}
    assert len(without) < len(tensors)
    wrong = without | {key: torch.zeros_like(value) for key, value in tensors.items() if key not in without}
    for content in (without, wrong):
        found = loaded(write(tmp_path, {"model": content}), recipe=SMALL)
        assert torch.equal(found(clip, RATE), denoiser(clip, RATE))


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"denoise needs the weights of {DIRECTORY}: no file {POINTER}"):
        loaded(tmp_path)
    write(tmp_path, {})
    (tmp_path / DIRECTORY / "last_best_checkpoint.pt").unlink()
    with pytest.raises(CheckpointError, match="missing file last_best_checkpoint.pt"):
        loaded(tmp_path)


@pytest.mark.parametrize("name", ("", "../elsewhere.pt", "/etc/passwd", "a/b.pt"))
def test_the_pointer_names_a_file_beside_it(tmp_path, name):
    write(tmp_path, {})
    (tmp_path / DIRECTORY / POINTER).write_text(name)
    with pytest.raises(CheckpointError, match="allowed is the name of a file beside it"):
        loaded(tmp_path)


def test_missing_and_misshapen_keys_are_listed(tensors, tmp_path):
    broken = dict(tensors)
    del broken["mossformer.conv1d_encoder.weight"]
    broken["mossformer.norm.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError) as error:
        loaded(write(tmp_path, {"model": broken}), recipe=SMALL)
    assert "missing: mossformer.conv1d_encoder.weight" in str(error.value)
    assert "mossformer.norm.bias is [7], expected [180]" in str(error.value)


def test_a_pickle_with_code_is_refused(tmp_path):
    write(tmp_path, {"model": {"key": print}})
    with pytest.raises(CheckpointError, match="not a tensor"):
        loaded(tmp_path, recipe=SMALL)


@pytest.mark.parametrize("shape", ((1, 0), (2, 100), (100,)))
def test_only_one_channel_with_samples(denoiser, shape):
    with pytest.raises(ValueError, match=r"allowed is \[1, T\]"):
        denoiser(torch.zeros(shape), RATE)


def test_the_published_size_loads_and_runs(tmp_path):
    recipe = Recipe()
    published = MaskNetwork(recipe).state_dict()
    assert len(published) == 929 and sum(np.prod(t.shape) for t in published.values()) > 55_000_000
    clip = talk(0.3)
    clean = loaded(write(tmp_path, {"model": published}))(clip, RATE)
    assert clean.shape == clip.shape and torch.isfinite(clean).all()


@pytest.mark.cuda
def test_on_a_gpu_it_is_the_same(weights, denoiser):
    clip = speech("slt_1")
    found = loaded(weights, device="cuda", recipe=SMALL)(clip, RATE)
    assert found.device.type == "cpu"
    assert (found - denoiser(clip, RATE)).norm() < 1e-3 * clip.norm()
