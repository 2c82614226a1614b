"""The memory plan against the bytes of real tensors."""

import pytest
import torch

from pipeline import gpu
from pipeline.checkpoints import LAYOUTS
from pipeline.config import load_config
from pipeline.gpt.device import DeviceDecoder, held_tensors, longest_prompt
from pipeline.memory_plan import GIB, module_bytes, plan, sequence_bytes, weight_bytes
from pipeline.model import MODULES
from pipeline.precisions import PRECISIONS

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["mini_model", "mini_model_25"])
def test_weights_are_those_of_real_modules(request, name):
    model = request.getfixturevalue(name)
    config, layout = model.config, LAYOUTS[model.config.layout]
    real = sum(
        module_bytes(make(config)) for (file, part), make in MODULES.items() if part in layout[file].sections
    )
    tables = (model.speaker_matrix, model.emotion_matrix, model.semantic.mean, model.semantic.std)
    assert weight_bytes(config, "exact") == real + sum(t.nbytes for t in tables)


def test_half_and_int8_take_what_they_should(mini_model):
    """`fast` halves GPT, w2v-bert and the flow's products; `smallest` halves the GPT's blocks again."""
    config = mini_model.config
    exact, fast, smallest = (weight_bytes(config, precision) for precision in PRECISIONS)
    halved = sum(module_bytes(MODULES[name, ""](config)) for name in ("gpt", "semantic"))
    flow = module_bytes(MODULES["s2mel", "cfm"](config))
    assert halved / 2 < exact - fast < (halved + flow) / 2
    blocks = sum(layer.weight.numel() for _, _, layer in gpu.linears(MODULES["gpt", ""](config).gpt))
    assert fast - smallest == pytest.approx(blocks, rel=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_sequence_takes_what_a_decoder_holds(mini_model, precision, beams):
    config = mini_model.config
    dtype = gpu.load_dtype(precision, "gpt", config.gpt.half)
    made = DeviceDecoder.tensors(config.gpt, 1, beams, 30, longest_prompt(config.gpt), CPU, dtype)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held_tensors(made)}
    assert sequence_bytes(config, precision, beams, 30) == sum(storages.values())


def test_the_published_model_fits_cards_as_told():
    """The README's table rests on these."""
    config = load_config("indextts2")
    exact, fast, smallest = (plan(config, precision, 3, 1500) for precision in PRECISIONS)
    assert exact.fixed > fast.fixed > smallest.fixed
    assert exact.sequences(8 * GIB) == 0 and fast.sequences(8 * GIB) >= 1
    counts = [fast.sequences(card * GIB) for card in (8, 12, 16, 24)]
    assert counts == sorted(counts)
    assert plan(config, "fast", 1, 600).sequence < fast.sequence
