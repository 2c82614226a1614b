"""The GPT step's kernels: their values in Triton's interpreter, that they compile for GPUs that are not here, and that
nothing is chosen without a GPU."""

from importlib.util import find_spec

import pytest

from pipeline.gpt.step import StepWeights, step
from pipeline.gpt.step_choice import choose

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton is not installed (requirements-dev.txt; Linux only)"
)


@needs_triton
def test_values_are_those_of_pytorch():
    from tests.gpus import interpreted

    assert "choices" in interpreted("-m", "tests.gpt.interpreted")


@needs_triton
@pytest.mark.parametrize("capability, half", [(75, "*fp16"), (80, "*bf16"), (90, "*fp16")])
def test_they_compile_for_gpus_that_are_not_here(capability, half, tmp_path, monkeypatch):
    """As a launch has them: addresses and sizes are multiples of 16, what is 1 or None is a constant."""
    from pipeline.gpt.triton_attention import JOINED, PART, SLOTS, _join, _part
    from pipeline.gpt.triton_rows import INPUTS, OUTPUTS, ROWS, _norm, _product
    from tests.gpus import compiled

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))

    def build(kernel, kinds: dict[str, str], constants: dict, odd: tuple[str, ...]) -> None:
        named = {name: kind for kind, names in kinds.items() for name in names.split()}
        attributes = {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(kernel.arg_names)
            if name not in constants and name not in odd
        }
        built = compiled(capability, kernel, named, constants, attrs=attributes, options={"num_stages": 4})
        assert "ptx" in built.asm and built.metadata.shared <= 48 << 10, kernel.__name__

    sizes = {"heads": 20, "d": 64, "slots": 3}
    kinds = {half: "projected cache mask", "*i64": "writes", "*fp32": "values tops totals", "fp32": "scale"}
    kinds |= {"i32": "capacity reach parts mask_group mask_slot"}
    build(_part, kinds, sizes | {"mask_head": 0, "queries": SLOTS, "part": PART}, ("parts", "scale"))
    kinds = {half: "out", "*fp32": "values tops totals", "i32": "parts"}
    build(_join, kinds, sizes | {"joined": JOINED}, ("parts",))
    blocks = {"some_rows": ROWS, "some_outputs": OUTPUTS, "some_inputs": INPUTS, "by_output": 1}
    whole = {"i32": "rows inputs outputs by_input share"}
    build(
        _product,
        {"*fp32": "y", half: "x weight"} | whole,
        blocks | {"gelu": False, "parted": True, "bias": None},
        ("rows",),
    )
    build(_product, {half: "x weight bias y"} | whole, blocks | {"gelu": True, "parted": False}, ("rows",))
    kinds = {half: "x bias scale shift y", "*fp32": "parts", "i32": "rows", "fp32": "eps"}
    build(_norm, kinds, {"width": 1280, "count": 4, "biased": True, "block": 2048}, ("rows", "eps"))


def test_without_a_gpu_the_step_is_pytorchs(mini_model):
    chosen = choose(mini_model.gpt, StepWeights.of(mini_model.gpt))
    assert chosen.func is step
