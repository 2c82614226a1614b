"""Strict loading of published-layout checkpoints: what is missing, misshapen, extra, foreign or evil."""

import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.checkpoints import CHECKPOINTS, Section
from pipeline.config import load_config
from pipeline.loading import OWN_FILE, State, load_module, read_checkpoint
from pipeline.model import load_model
from pipeline.state_dict import CheckpointError, fold_weight_norm, unpickle


@pytest.fixture
def directory(mini_directory, tmp_path):
    return shutil.copytree(mini_directory, tmp_path / "mini")


def edit(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_fold_equals_torchs_weight_norm(generator):
    for layer in (nn.Conv1d(4, 6, 3), nn.ConvTranspose1d(4, 6, 3), nn.Linear(5, 7)):
        plain = layer.weight.detach().clone()
        normed = torch.nn.utils.weight_norm(layer)
        with torch.no_grad():
            normed.weight_g.mul_(1.5)
        folded = fold_weight_norm(normed.state_dict())
        torch.testing.assert_close(folded["weight"], 1.5 * plain)
        assert set(folded) == {"weight", "bias"}


def test_half_a_weight_norm_pair_is_an_error():
    with pytest.raises(CheckpointError, match="a.weight_v has no a.weight_g"):
        fold_weight_norm({"a.weight_v": torch.ones(2, 2)})


def test_missing_and_misshapen_keys_are_listed(directory):
    def damage(content):
        del content["model"]["final_norm.bias"]
        content["model"]["emo_layer.weight"] = torch.zeros(3, 3)

    edit(directory / "gpt.pth", damage)
    with pytest.raises(
        CheckpointError,
        match=r"gpt.pth: missing: final_norm.bias; misshapen: emo_layer.weight is "
        r"\[3, 3\], expected \[128, 128\]",
    ):
        load_model(directory, load_config("mini"), precision="exact")


def test_extra_keys_of_a_published_file_are_a_warning(directory, caplog):
    edit(directory / "gpt.pth", lambda content: content["model"].update(surprise=torch.zeros(1)))
    load_model(directory, load_config("mini"), precision="exact")
    assert "gpt.pth: 1 keys not used: surprise" in caplog.text


def test_extra_keys_of_our_own_file_are_an_error(directory):
    state = read_checkpoint(directory, CHECKPOINTS["gpt"])[""].tensors
    save_file({**state, "surprise": torch.zeros(1)}, directory / "gpt.safetensors", metadata=OWN_FILE)
    with pytest.raises(CheckpointError, match="gpt.safetensors: unexpected: surprise"):
        load_model(directory, load_config("mini"), precision="exact")


def test_keys_known_to_be_unused_are_silent(directory, caplog):
    def add(content):
        content["net"]["cfm"]["estimator.cond_embedder.weight"] = torch.zeros(1)
        content["net"]["cfm"]["estimator.transformer.layers.0.skip_in_linear.weight"] = torch.zeros(1)
        content["net"]["length_regulator"]["mask_token"] = torch.zeros(1)
        content["net"]["cfm"]["estimator.input_pos"] = torch.arange(4)

    edit(directory / "s2mel.pth", add)
    load_model(directory, load_config("mini"), precision="exact")
    assert "not used" not in caplog.text


def test_data_parallel_prefixes_are_stripped(directory, mini_model):
    def prefix(content):
        content["net"]["cfm"] = {"module." + key: value for key, value in content["net"]["cfm"].items()}

    edit(directory / "s2mel.pth", prefix)
    loaded = load_model(directory, load_config("mini"), precision="exact")
    assert loaded.fingerprint == mini_model.fingerprint
    torch.testing.assert_close(loaded.dit.state_dict(), mini_model.dit.state_dict())


def test_gpt_without_the_model_key_and_other_entries_of_s2mel(directory, mini_model, caplog):
    caplog.set_level("INFO")
    path = directory / "gpt.pth"
    torch.save(torch.load(path, weights_only=True)["model"], path)
    edit(directory / "s2mel.pth", lambda content: content["net"].update(style_encoder={"x": torch.zeros(1)}))
    assert load_model(directory, load_config("mini"), precision="exact").fingerprint == mini_model.fingerprint


def test_missing_sections_are_named(directory):
    edit(directory / "s2mel.pth", lambda content: content["net"].pop("gpt_layer"))
    with pytest.raises(CheckpointError, match="s2mel.pth: no entry 'net.gpt_layer'"):
        load_model(directory, load_config("mini"), precision="exact")


def test_missing_files_are_listed_at_once(directory):
    (directory / "gpt.pth").unlink()
    (directory / "campplus_cn_common.bin").unlink()
    with pytest.raises(CheckpointError, match="lacks gpt.pth, campplus_cn_common.bin"):
        load_model(directory, load_config("mini"), precision="exact")


def test_converted_files_are_preferred_and_equal(directory, mini_model):
    states = read_checkpoint(directory, CHECKPOINTS["s2mel"])
    flat = {
        state.section.prefix + key: value.clone()
        for state in states.values()
        for key, value in fold_weight_norm(state.tensors).items()
    }
    save_file(flat, directory / "s2mel.safetensors")
    (directory / "s2mel.pth").unlink()
    loaded = load_model(directory, load_config("mini"), precision="exact")
    assert loaded.fingerprint == mini_model.fingerprint
    torch.testing.assert_close(loaded.regulator.state_dict(), mini_model.regulator.state_dict())


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.parametrize(
    "write", [lambda p: p.write_bytes(pickle.dumps(Evil())), lambda p: torch.save({"a": Evil()}, p)]
)
def test_a_pickle_that_wants_more_than_tensors_is_refused_by_name(tmp_path, write):
    write(tmp_path / "gpt.pth")
    with pytest.raises(CheckpointError, match="gpt.pth: not a readable tensor file.*exec"):
        unpickle(tmp_path / "gpt.pth")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 not really", b"\x80\x02}q\x00."])
def test_files_that_are_no_checkpoint(tmp_path, content):
    (tmp_path / "gpt.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="gpt.pth"):
        read_checkpoint(tmp_path, CHECKPOINTS["gpt"])


def test_truncated_safetensors_are_refused(directory):
    path = directory / "semantic_codec/model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="model.safetensors: not a readable safetensors file"):
        load_model(directory, load_config("mini"), precision="exact")


def test_nothing_is_left_on_meta_and_constants_are_computed(mini_model):
    for module in (
        mini_model.gpt,
        mini_model.dit,
        mini_model.vocoder,
        mini_model.speaker,
        mini_model.semantic,
    ):
        assert not any(t.is_meta for t in [*module.parameters(), *module.buffers()])
    assert abs(float(mini_model.vocoder.activation_post.filter.sum()) - 1) < 1e-6


def test_dtype_is_the_one_asked_for():
    state = State({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "x", Section(), own=True)
    module = load_module(lambda: nn.Linear(3, 2), state, dtype=torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16 and not module.training and not module.weight.requires_grad


def test_fingerprint_tells_weights_apart_and_survives_float16(directory, mini_model):
    path = directory / "semantic_codec/model.safetensors"
    state = load_file(path)
    save_file({key: value.half() for key, value in state.items()}, path)
    assert load_model(directory, load_config("mini"), precision="exact").fingerprint == mini_model.fingerprint
    state["encoder.1.bias"][0] += 1
    save_file(state, path)
    assert load_model(directory, load_config("mini"), precision="exact").fingerprint != mini_model.fingerprint
