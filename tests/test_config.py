"""Configurations are read strictly, and a published directory says the same as ours."""

import json
import re

import pytest
import torch
import yaml

from pipeline.checkpoints import LAYOUTS
from pipeline.config import ModelConfig, config_names, load_config
from pipeline.deterministic import published_shapes, values
from pipeline.loading import is_constant
from pipeline.model import MODULES
from pipeline.published import apply_main_config, published_config
from pipeline.strict import ConfigError, build, to_dict
from service.catalog import locate
from tests.conftest import GOLDEN


@pytest.mark.parametrize("name", config_names())
def test_every_configuration_is_complete_and_survives_a_round_trip(name):
    config = load_config(name)
    assert config.name == name
    assert build(ModelConfig, to_dict(config), "again") == config


def test_unknown_and_missing_keys_are_named():
    values = to_dict(load_config("mini"))
    values["gpt"]["layerz"] = values["gpt"].pop("layers")
    with pytest.raises(ConfigError, match="x.gpt: unknown key layerz; missing key layers"):
        build(ModelConfig, values, "x")


@pytest.mark.parametrize(
    "section, key, value, message",
    [
        ("gpt", "layers", "three", "x.gpt.layers: expected int, got 'three'"),
        ("gpt", "layers", True, "expected int"),
        ("vocoder", "upsample_rates", 4, "expected a list"),
        ("s2mel", "regulator", 7, "expected a mapping"),
        ("codec", "hidden_size", 999, "semantic.hidden_size = codec.hidden_size does not hold: 1024 and 999"),
        ("gpt", "alignment", {"layer": 0, "heads": [0]}, "x.gpt.alignment: missing key ahead, back"),
        *(
            (
                "gpt",
                "alignment",
                {"layer": 0, "heads": [0], "back": 1, "ahead": 3} | wrong,
                "gpt.alignment is .*; allowed: a layer",
            )
            for wrong in ({"layer": 99}, {"heads": []}, {"heads": [99]}, {"heads": [-1]}, {"ahead": -1})
        ),
        *(
            ("gpt", name, value, f"gpt.{name} is {value}; allowed: {allowed}")
            for name, allowed in (("start_text_token", "0 to 620"), ("stop_text_token", "0 to 620"))
            for value in (-1, 621, 10**9)
        ),
        *(
            ("gpt", "stop_mel_token", value, f"gpt.stop_mel_token is {value}; allowed: 65")
            for value in (-1, 0, 64, 66)
        ),
        ("gpt", "start_mel_token", 65, "codec.codebook_size = gpt.start_mel_token does not hold: 64 and 65"),
        ("audio", "hop_length", 300, "the vocoder upsamples by 256, the mel hop is 300"),
    ],
)
def test_wrong_values_are_named(section, key, value, message):
    values = to_dict(load_config("mini"))
    values[section][key] = value
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig, values, "x")


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ConfigError, match="unknown model 'nope'; known: .*indextts2"):
        load_config("nope")
    with (
        pytest.raises(ConfigError, match="INDEXTTS_MODEL is 'nope'; allowed: .*mini, .*or a model directory"),
        locate("nope"),
    ):
        pass


def test_a_published_directory_gives_the_configuration_it_was_written_from(mini_directory):
    ours, theirs = to_dict(load_config("mini")), to_dict(published_config(mini_directory))
    for section in ("audio", "semantic", "codec", "speaker", "gpt", "emotion", "s2mel", "vocoder"):
        assert ours[section] == theirs[section]


@pytest.mark.parametrize(
    "name, file", [("indextts2", "full_config.yaml"), ("indextts2.5", "full25_config.yaml")]
)
def test_the_published_full_configuration_is_ours(name, file):
    published = yaml.safe_load((GOLDEN / file).read_text())
    base = to_dict(load_config(name))
    assert apply_main_config(to_dict(load_config(name)), published, file) == base


def test_a_published_configuration_without_a_section_is_an_error(tmp_path):
    (tmp_path / "config.yaml").write_text("gpt: {model_dim: 5}\n")
    with pytest.raises(ConfigError, match="config.yaml: gpt: missing key layers"):
        published_config(tmp_path)
    (tmp_path / "config.yaml").write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="config.yaml: expected a mapping"):
        published_config(tmp_path)


FILES = {
    "gpt.pth": ("gpt", ""),
    "s2mel.pth:net.cfm": ("s2mel", "cfm"),
    "s2mel.pth:net.length_regulator": ("s2mel", "length_regulator"),
    "s2mel.pth:net.gpt_layer": ("s2mel", "gpt_layer"),
    "semantic_codec/model.safetensors": ("codec", ""),
    "campplus_cn_common.bin": ("speaker", ""),
    "bigvgan_generator.pt:generator": ("vocoder", ""),
}


FILES_2_5 = {"gpt.pth": ("gpt", ""), "codec.pth:model": ("codec", "")}
TENSORS = {("indextts2.5", "gpt.pth"): 456, ("indextts2.5", "codec.pth:model"): 243}


@pytest.mark.parametrize(
    "name, manifest, file, part",
    [
        *(("indextts2", "manifest.json", file, part) for file, part in FILES.items()),
        *(("indextts2.5", "manifest25.json", file, part) for file, part in FILES_2_5.items()),
    ],
)
def test_the_full_model_has_the_published_keys_and_shapes(name, manifest, file, part):
    """Every tensor of the published files is wanted, a constant, or known to be unused; and no other is."""
    published = json.loads((GOLDEN / manifest).read_text())[file]
    assert len(published) == TENSORS.get((name, file), len(published))
    manifest = {key: tuple(shape) for key, (_, shape) in published.items() if not is_constant(key)}
    checkpoint, section = part
    config = load_config(name)
    rule = LAYOUTS[config.layout][checkpoint].sections[section]
    with torch.device("meta"):
        module = MODULES[checkpoint, section](config)
    ours = published_shapes({key: tuple(t.shape) for key, t in module.state_dict().items()}, rule.weight_norm)
    assert ours == {key: shape for key, shape in manifest.items() if key in ours}
    unknown = [key for key in set(manifest) - set(ours) if not any(re.match(p, key) for p in rule.unused)]
    assert not unknown


def test_deterministic_values_are_the_golden_rule():
    assert values("a.running_var", (4,)).min() >= 1
    assert values("a.weight_g", (4, 1, 1)).mean() == pytest.approx(1, abs=0.3)
    assert values("conv_post.weight_g", (1, 1, 1)).item() == pytest.approx(0.02, rel=0.5)
    assert values("a.weight", (64, 100)).std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(values("k", (3,)), values("k", (3,)))
