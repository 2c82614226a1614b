"""Adapters: what they compute, what is refused of a file, and that they leave no trace."""

import dataclasses
import json
import os
import pickle
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from pipeline.adapter import DOWN, UP, Adapter, LowRank, adapted, full_parameters, lora_layers, parts_of
from pipeline.adapter_file import AdapterError, read_adapter, write_adapter
from pipeline.config import load_config
from pipeline.gpt.model import Conv1D
from pipeline.model import load_model
from pipeline.packed import HalfLinear, rows_of

RANK = 3


@pytest.fixture(scope="module", params=["exact", "fast"])
def model(request, mini_directory):
    return load_model(mini_directory, load_config("mini"), precision=request.param)


def lora(model, size=0.05, seed=0, parts=("gpt", "dit"), rank=RANK) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer, (inputs, outputs) in lora_layers(model.config, parts).items():
        tensors[f"{layer}.{DOWN}"] = size * torch.randn(rank, inputs, generator=generator)
        tensors[f"{layer}.{UP}"] = size * torch.randn(outputs, rank, generator=generator)
    return Adapter("lora", tensors, "a")


def state(model) -> dict[str, torch.Tensor]:
    """Every tensor of the parts that can change, with their addresses."""
    return {
        f"{part}.{key}": value
        for part, module in parts_of(model).items()
        for key, value in [*module.named_parameters(), *module.named_buffers()]
    }


def run(model) -> list[torch.Tensor]:
    """What the parts give for fixed inputs: GPT latents and step weights, velocity, projection."""
    config, generator = model.config, torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    with torch.inference_mode():
        width = config.gpt.model_dim
        block = model.gpt.gpt.h[0]
        dit = config.s2mel.dit
        return [
            model.gpt.latents(draw(1, 9, width)),
            rows_of(block.mlp.c_fc)(draw(2, width)),
            model.dit(
                draw(1, dit.in_channels, 20),
                torch.tensor([0.3]),
                draw(1, dit.in_channels, 20),
                draw(1, 20, dit.content_dim),
                draw(1, dit.style_dim),
            ),
            model.latent_projection(draw(1, 5, width)),
        ]


def test_a_branch_is_the_sum_with_the_product_of_its_matrices():
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(RANK, 8, generator=generator), torch.randn(6, RANK, generator=generator)
    plain = nn.Linear(8, 6)
    stored_across = Conv1D(8, 6)
    stored_across.weight.data, stored_across.bias.data = plain.weight.data.t(), plain.bias.data
    merged = nn.Linear(8, 6)
    merged.weight.data, merged.bias.data = plain.weight.data + up @ down, plain.bias.data
    x = torch.randn(2, 5, 8, generator=generator)
    for base in (plain, stored_across):
        layer = LowRank(base, down, up)
        assert torch.allclose(layer(x), merged(x), atol=1e-5)
        assert torch.allclose(layer.rows(x[0]), merged(x[0]), atol=1e-5)


def test_every_layer_of_both_networks_is_adapted_and_nothing_that_makes_a_voice(model):
    layers = lora_layers(model.config, ("gpt", "dit"))
    config = model.config
    assert sum(name.startswith("gpt.") for name in layers) == 4 * config.gpt.layers
    skips = config.s2mel.dit.depth - config.s2mel.dit.depth // 2 - 1
    assert sum(name.startswith("dit.") for name in layers) == 5 * config.s2mel.dit.depth + skips
    assert not [key for key in full_parameters(config, ("gpt",)) if "encoder" in key or "emo" in key]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_applied_and_gone_without_a_trace(model, method):
    before, values = {k: (v.data_ptr(), v.clone()) for k, v in state(model).items()}, run(model)
    if method == "lora":
        adapter = lora(model)
    else:
        generator = torch.Generator().manual_seed(2)
        shapes = full_parameters(model.config, ("gpt", "dit", "latent_projection"))
        adapter = Adapter(
            "full", {k: 0.1 * torch.randn(s, generator=generator) for k, s in shapes.items()}, "a"
        )
    changed = adapted(model, adapter)
    assert changed.adapter == "a" and model.adapter == ""
    for ours, theirs in zip(run(changed)[:3], values[:3], strict=True):
        assert not torch.allclose(ours, theirs, rtol=1e-3)
    for ours, theirs in zip(run(model), values, strict=True):
        assert torch.equal(ours, theirs)
    after = state(model)
    assert before.keys() == after.keys()
    assert all(after[k].data_ptr() == p and torch.equal(after[k], v) for k, (p, v) in before.items())


def test_full_weights_of_the_model_itself_change_nothing(mini_directory):
    plain = load_model(mini_directory, load_config("mini"), precision="exact", packed=False)
    own = {
        key: value.detach()
        for key, value in state(plain).items()
        if key in full_parameters(plain.config, parts_of(plain))
    }
    packed = load_model(mini_directory, load_config("mini"), precision="exact")
    for ours, theirs in zip(run(adapted(packed, Adapter("full", own))), run(packed), strict=True):
        assert torch.equal(ours, theirs)


def test_an_adapter_of_zeros_changes_no_value(model):
    adapter = lora(model)
    zero = {
        key: value if key.endswith(DOWN) else torch.zeros_like(value)
        for key, value in adapter.tensors.items()
    }
    for ours, theirs in zip(run(adapted(model, Adapter("lora", zero))), run(model), strict=True):
        assert torch.equal(ours, theirs)


def test_a_hook_on_an_adapted_layer_is_not_on_its_base(mini_directory):
    plain = load_model(mini_directory, load_config("mini"), precision="exact", packed=False)
    shapes = full_parameters(plain.config, ("gpt",))
    changed = adapted(plain, Adapter("full", {key: torch.zeros(shape) for key, shape in shapes.items()}))
    changed.gpt.gpt.h[0].attn.c_attn.register_forward_hook(lambda *_: None)
    assert not plain.gpt.gpt.h[0].attn.c_attn._forward_hooks


def test_what_is_not_adapted_is_shared(model):
    changed = adapted(model, lora(model, parts=("gpt",)))
    assert changed.dit is model.dit and changed.vocoder is model.vocoder
    ours, theirs = changed.gpt.gpt.h[0].attn.c_attn, model.gpt.gpt.h[0].attn.c_attn
    assert isinstance(ours, LowRank) and ours.base is theirs
    assert changed.gpt.conditioning_encoder is not model.gpt.conditioning_encoder
    shared = {value.data_ptr() for value in state(model).values()}
    assert {v.data_ptr() for k, v in state(changed).items() if not k.endswith((".down", ".up"))} <= shared


def test_it_stands_in_a_packed_layer():
    layer = HalfLinear(torch.ones(4, 8), None)
    both = LowRank(layer, torch.ones(1, 8), torch.ones(4, 1))
    assert torch.equal(both(torch.ones(1, 2, 8)), torch.full((1, 2, 4), 16.0))


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def file(mini_model, tmp_path):
    path = tmp_path / "adapter.safetensors"
    write_adapter(path, lora(mini_model), mini_model)
    return path


def test_a_file_is_read_as_it_was_written(mini_model, file):
    read = read_adapter(file, mini_model)
    wanted = lora(mini_model)
    assert read.method == "lora" and read.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(read.tensors[key], value) for key, value in wanted.tensors.items())


def test_an_archive_of_a_training_is_one(mini_model, file, tmp_path):
    archive = tmp_path / "training.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(file, "adapter/adapter.safetensors")
        packed.writestr("report.html", "x")
    assert read_adapter(archive, mini_model).sha256 == read_adapter(file, mini_model).sha256


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/indextts-evil",)


def rewritten(file, change=None, **metadata):
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    told = json.loads(content[8 : 8 + length])["__metadata__"] | metadata
    tensors = safetensors.torch.load(content)
    if change:
        change(tensors)
    file.write_bytes(safetensors.torch.save(tensors, told))


def first(tensors, ending=DOWN):
    return next(key for key in sorted(tensors) if key.endswith(ending))


def put(value):
    return lambda tensors: tensors.update({first(tensors): value(tensors[first(tensors)])})


BROKEN = {
    "another model": (
        lambda f: rewritten(f, fingerprint="0" * 64),
        "trained on model 'mini' \\(000000000000\\)",
    ),
    "truncated": (lambda f: f.write_bytes(f.read_bytes()[:-100]), "damaged"),
    "truncated in its header": (lambda f: f.write_bytes(f.read_bytes()[:50]), "damaged: its header claims"),
    "empty": (lambda f: f.write_bytes(b""), "not a safetensors file"),
    "a pickle": (lambda f: f.write_bytes(pickle.dumps(Evil())), "not a safetensors file"),
    "a torch file": (lambda f: torch.save({"a": torch.ones(1)}, f), "holds 0 files adapter.safetensors"),
    "NaN": (lambda f: rewritten(f, put(lambda t: t * float("nan"))), "not finite"),
    "infinity": (lambda f: rewritten(f, put(lambda t: t + float("inf"))), "not finite"),
    "another shape": (lambda f: rewritten(f, put(lambda t: t[:, 1:].contiguous())), "expected \\[3, "),
    "another type": (lambda f: rewritten(f, put(lambda t: t.to(torch.int32))), "torch.int32; allowed"),
    "a key more": (lambda f: rewritten(f, lambda t: t.update({"gpt.evil": torch.ones(1)})), "gpt.evil"),
    "a key less": (lambda f: rewritten(f, lambda t: t.pop(first(t))), "lacks .*lora_down"),
    "a layer of the conditioner": (
        lambda f: rewritten(f, lambda t: t.update({"gpt.emo_layer.lora_down": torch.ones(3, 4)})),
        "emo_layer",
    ),
    "no tensors": (lambda f: rewritten(f, lambda t: t.clear()), "holds no tensors"),
    "another method": (lambda f: rewritten(f, method="magic"), "allowed: lora, full"),
    "another rank": (lambda f: rewritten(f, rank="2"), "expected \\[2, "),
    "no rank": (lambda f: rewritten(f, rank="many"), "unreadable"),
    "a huge rank": (lambda f: rewritten(f, rank="100000"), "allowed: 1 to 256"),
    "another format": (lambda f: rewritten(f, format="voice"), "no adapter"),
    "a later version": (lambda f: rewritten(f, format_version="2"), "allowed: 1"),
    "lora as full": (lambda f: rewritten(f, method="full"), "full does not change"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_file_is_told_in_one_line(mini_model, file, name):
    spoil, message = BROKEN[name]
    spoil(file)
    with pytest.raises(AdapterError, match=message) as e:
        read_adapter(file, mini_model)
    assert "\n" not in str(e.value) and len(str(e.value)) < 600
    assert not os.path.exists("/tmp/indextts-evil")


def test_archives_that_are_none(mini_model, file, tmp_path):
    bomb = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("adapter.safetensors", "w", force_zip64=True) as member,
    ):
        for _ in range(64):
            member.write(bytes(2**20))
    with pytest.raises(AdapterError, match="allowed: at most"):
        read_adapter(bomb, mini_model)
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as packed:
        packed.write(file, "a/adapter.safetensors")
        packed.write(file, "b/adapter.safetensors")
    with pytest.raises(AdapterError, match="holds 2 files"):
        read_adapter(two, mini_model)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(two.read_bytes()[:40] + b"\0" * 40 + two.read_bytes()[80:])
    with pytest.raises(AdapterError):
        read_adapter(broken, mini_model)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(AdapterError, match="not a regular file"):
        read_adapter(link, mini_model)
    with pytest.raises(AdapterError, match="allowed: at most"):
        read_adapter(large(tmp_path), mini_model)


def large(folder):
    path = folder / "large"
    with path.open("wb") as file:
        file.truncate(10**9)
    return path


def test_the_config_says_how_large_one_may_be():
    """Of the published size: what `full` can change, in float32."""
    from pipeline.adapter_file import most_bytes

    assert 2e9 < most_bytes(load_config("indextts2")) < 5e9
    layers = lora_layers(load_config("indextts2"), ("gpt", "dit"))
    assert 25e6 < sum(16 * sum(shape) * 4 for shape in layers.values()) < 60e6
    assert dataclasses.is_dataclass(Adapter)
