"""Packed linear layers and the precisions made of them: values, choice, fallback, and what stays the same."""

import pytest
import torch
from torch import nn

from checks.golden import relative
from pipeline import packed, precision
from pipeline.config import load_config
from pipeline.gpt.decode import decode
from pipeline.gpt.model import Conv1D
from pipeline.gpt.sampling import SamplingOptions
from pipeline.model import load_model
from pipeline.packed import HalfLinear, Int8Linear, OneDNNLinear, choose, rows_of
from pipeline.precision import pack
from pipeline.precisions import PRECISIONS, check_precision
from tests.gpt.conftest import random_prompt

KERNELS = (OneDNNLinear, HalfLinear, Int8Linear)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_packed_layer_gives_the_products_of_its_weights(kernel, bias, generator):
    layer = nn.Linear(96, 130, bias=bias)
    ours = kernel(layer.weight, layer.bias)
    for shape in ((96,), (1, 96), (3, 96), (2, 5, 96), (1, 40, 96)):
        x = torch.randn(shape, generator=generator)
        assert ours(x).shape == layer(x).shape and ours(x).dtype == torch.float32
        assert relative(ours(x), layer(x)) < kernel.tolerance


@pytest.mark.parametrize("kernel", KERNELS)
@torch.inference_mode()
def test_a_row_does_not_depend_on_its_neighbours(kernel, generator):
    layer = kernel(torch.randn(64, 96, generator=generator), None)
    x = torch.randn(3, 96, generator=generator)
    loud = torch.cat([x[:1], 1000 * x[1:]])
    assert relative(layer.rows(loud)[:1], layer.rows(x)[:1]) < 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
@torch.inference_mode()
def test_a_row_does_not_depend_on_their_number(kernel, generator):
    layer = kernel(torch.randn(128, 1280, generator=generator), None)
    x = torch.randn(9, 1280, generator=generator)
    for count in range(1, 9):
        assert torch.equal(layer.rows(x[:count]), layer.rows(x)[:count]), count


@torch.inference_mode()
def test_weights_may_be_stored_either_way_round(generator):
    module = nn.Sequential(Conv1D(48, 96), nn.Linear(96, 48))
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(4, 48, generator=generator)
    wanted = module(x)
    pack(module, (OneDNNLinear,), "layers", mapped=False)
    assert all(isinstance(layer, OneDNNLinear) for layer in module)
    assert relative(module(x), wanted) < 1e-5
    assert relative(rows_of(module[0])(x), module[0](x)) == 0


@pytest.mark.parametrize("kernel", KERNELS)
@torch.inference_mode()
def test_a_convolution_of_one_tap_is_packed_and_others_are_not(kernel, generator):
    module = nn.Sequential(
        nn.Conv1d(48, 96, 1, bias=False), nn.Conv1d(96, 96, 3, groups=96), nn.Conv1d(96, 48, 1, stride=1)
    )
    x = torch.randn(2, 48, 9, generator=generator)
    wanted = module(x)
    pack(module, (kernel,), "layers", mapped=False)
    assert [isinstance(layer, nn.Conv1d) for layer in module] == [False, True, False]
    assert module(x).shape == wanted.shape and relative(module(x), wanted) < 2 * kernel.tolerance


def test_what_was_packed_is_freed(mini_directory):
    fast = load_model(mini_directory, load_config("mini"), precision="fast")
    left = {name for name, _ in fast.gpt.named_parameters() if ".c_attn." in name or ".c_fc." in name}
    assert not left
    assert all(
        layer.weight.dtype == torch.bfloat16 for layer in fast.dit.modules() if isinstance(layer, nn.Linear)
    )


class Wrong(OneDNNLinear):
    name = "wrong"

    def pack(self, weight, bias):
        super().pack(1.01 * weight, bias)


class Lacking(OneDNNLinear):
    name = "lacking"

    def pack(self, weight, bias):
        self.rows = torch.ops.mkldnn.no_such_operator


class Slow(OneDNNLinear):
    name = "slow"

    def pack(self, weight, bias):
        super().pack(weight, bias)
        quick = self.rows
        self.rows = lambda x: [quick(x) for _ in range(30)][0]


@pytest.mark.parametrize(
    "kernel, reason", [(Wrong, "off by"), (Lacking, "cannot be used"), (Slow, "times the time")]
)
def test_a_kernel_that_does_not_do_is_passed_over_with_a_reason(kernel, reason, caplog):
    caplog.set_level("INFO")
    layer = (torch.randn(64, 96), torch.randn(64))
    assert choose((kernel, OneDNNLinear), [layer], "layers") is OneDNNLinear
    assert f"not {kernel.name}: " in caplog.messages[-1] and reason in caplog.messages[-1]
    assert choose((kernel,), [layer], "layers") is None
    assert "plain float32" in caplog.messages[-1] and "\n" not in caplog.messages[-1]


def test_a_machine_without_any_kernel_speaks_plain_float32(mini_directory, mini_model, monkeypatch, caplog):
    monkeypatch.setattr(packed, "mistake", lambda *_: "cannot be used: a test says so")
    monkeypatch.setattr(precision, "no_bfloat16", lambda dit: "0.4 times as fast as float32")
    model = load_model(mini_directory, load_config("mini"), precision="smallest")
    assert isinstance(model.gpt.mel_head, nn.Linear) and model.dit.compute is None
    assert "GPT: plain float32" in caplog.text and "flow: float32; not bfloat16: 0.4 times" in caplog.text
    prompt = random_prompt(mini_model.gpt, [5, 9, 2])
    options = SamplingOptions(False, 1.0, 0, 1.0, 1, 10.0, 0.0, 6, "trained")
    ours, wanted = (decode(m.gpt, prompt, options, torch.Generator()).codes for m in (model, mini_model))
    assert torch.equal(ours, wanted)


@pytest.mark.parametrize("gain, lower", [(0.4, False), (1.2, False), (2.0, True)])
def test_the_machine_and_not_the_model_decides_about_bfloat16(mini_directory, monkeypatch, gain, lower):
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: gain)
    model = load_model(mini_directory, load_config("mini"), precision="fast")
    assert (model.dit.compute is torch.bfloat16) is lower


def test_weights_too_large_for_float16_stay_float32():
    module = nn.Sequential(nn.Linear(64, 64))
    module[0].weight.data[0, 0] = 1e6
    pack(module, (HalfLinear, OneDNNLinear), "layers", mapped=False)
    assert isinstance(module[0], OneDNNLinear)


@pytest.mark.parametrize("name", ["", "Fast", "int8", "exact ", "x" * 100])
def test_an_unknown_precision_is_an_error(name):
    with pytest.raises(ValueError, match=r"precision is '.*'; allowed: exact, fast, smallest"):
        check_precision(name)


def test_precisions_stay_near_one_another(mini_directory, mini_model, generator):
    x = torch.randn(1, 80, 12, generator=generator)
    given = (
        torch.tensor([0.4]),
        torch.zeros_like(x),
        torch.randn(1, 12, mini_model.config.s2mel.dit.content_dim),
    )
    style = torch.randn(1, mini_model.config.speaker.style_dim, generator=generator)
    with torch.inference_mode():
        wanted = mini_model.dit(x, *given, style)
        for name in PRECISIONS[1:]:
            model = load_model(mini_directory, load_config("mini"), precision=name)
            assert model.precision == name and model.fingerprint == mini_model.fingerprint
            assert 0 < relative(model.dit(x, *given, style), wanted) < 3e-2


@torch.inference_mode()
def test_other_threads_change_rounding_alone(mini_model, generator):
    mel = torch.randn(1, 80, 40, generator=generator)
    waves = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        waves.append(mini_model.vocoder(mel))
    torch.set_num_threads(1)
    assert relative(*waves) < 1e-5
