"""The GPT step's Triton kernels in Triton's interpreter against PyTorch:

TRITON_INTERPRET=1 python -m tests.gpt.interpreted
"""

import dataclasses
import time

import torch

from checks.gpu_model import fill
from pipeline.config import AlignmentConfig, load_config
from pipeline.gpt import step_choice, triton_attention, triton_rows
from pipeline.gpt.fused_step import FusedStep
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.step import StepWeights
from pipeline.gpt.step_choice import PYTORCH, disagreement, look, trial
from pipeline.loading import Constants
from pipeline.model import MODULES

CONFIG = load_config("mini")
ALIGNMENT = AlignmentConfig(1, (0,), 0, 1)
LIMITS = {
    torch.float32: 1e-5,
    torch.float16: 5e-3,
}  # relative L2; the second of two roundings, two layers deep


def made(alignment: AlignmentConfig | None, dtype: torch.dtype, layers: int = 1) -> UnifiedVoice:
    gpt = dataclasses.replace(CONFIG.gpt, alignment=alignment, layers=layers)
    module = MODULES["gpt", ""](dataclasses.replace(CONFIG, gpt=gpt))
    values = {key: fill(key, tuple(t.shape), torch.device("cpu")) for key, t in module.state_dict().items()}
    module.load_state_dict(values)
    for part in module.modules():
        if isinstance(part, Constants):
            part.init_constants(torch.device("cpu"))
    return module.eval().to(dtype)


def steps() -> None:
    """Hidden states, logits, and new rows of the cache, of whole steps."""
    for alignment, dtype, products, slots in (
        (None, torch.float32, True, 3),
        (ALIGNMENT, torch.float16, True, 1),
        (ALIGNMENT, torch.float32, False, 3),
    ):
        model = made(alignment, dtype, layers=2)
        weights = StepWeights.of(model)
        error = disagreement(weights, FusedStep(model, weights, products), slots)
        assert error < LIMITS[dtype], (alignment, dtype, products, slots, error)


def company() -> None:
    """A group's values are the same bits alone over a short reach, and with others over a long one."""
    model = made(None, torch.float16)
    weights = StepWeights.of(model)
    step = FusedStep(model, weights, True)
    together, alone = (trial(weights, 3, 2) for _ in range(2))
    for buffers in (together, alone):
        buffers.mask[..., 60:] = -torch.inf
        buffers.writes.copy_(torch.arange(6) % 2 + 58 + step_choice.CAPACITY * (torch.arange(6) // 2))
    step(together, step_choice.CAPACITY)
    alone = alone.first(1)
    step(alone, 64)
    for name in ("hidden", "logits"):
        assert torch.equal(getattr(alone, name), getattr(together, name)[:2]), name
    assert torch.equal(alone.rows, together.rows[:, :1])


def choices() -> None:
    """The quickest way that is right, by times that are given; PyTorch's where that gains little or is wrong."""
    model = made(None, torch.float16)
    weights = StepWeights.of(model)

    def timed(ours: float):
        return lambda weights, advance: [ours if isinstance(advance, FusedStep) else 1.0] * 2

    step_choice.GROUPS, step_choice.SLOTS = 1, (1,)
    assert look(model, weights, timed(0.5)).name == "Triton"
    step_choice.WAYS.pop("Triton, PyTorch's products")
    assert look(model, weights, timed(0.95)).name == PYTORCH
    model.gpt.h[0].ln_2.eps = 1.0  # the fused step's own from here on
    wrong = look(model, weights, timed(0.5))
    assert wrong.name == PYTORCH and "off by" in wrong.reasons["Triton"]


def sums() -> None:
    """A product whose inputs are taken in parts, and one with weights in the other order of memory."""
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(18, 256, generator=generator), torch.randn(256, 128, generator=generator)
    bias, wanted = torch.randn(128, generator=generator), x @ weight
    assert triton_rows.part_count(256, 128) == 2
    parts = triton_rows.parted_product(x, weight)
    assert parts.shape == (2, 18, 128)
    torch.testing.assert_close(parts.sum(0), wanted, rtol=1e-4, atol=1e-4)
    turned = weight.t().contiguous().t()
    gelu = torch.nn.functional.gelu(wanted + bias, approximate="tanh")
    torch.testing.assert_close(triton_rows.product(x, turned, bias, gelu=True), gelu, rtol=1e-4, atol=1e-4)


def unseen() -> None:
    """Parts that a slot sees nothing of, among more of them than are joined at once; a NaN stays in its group."""
    heads, d, groups, slots, reach = 2, 16, 2, 2, triton_attention.PART * triton_attention.JOINED + 100
    generator = torch.Generator().manual_seed(0)
    projected = torch.randn(groups * slots, 3 * heads * d, generator=generator)
    cache = torch.randn(groups, reach, 2 * heads * d, generator=generator)
    mask = torch.full((groups, 1, slots, reach), -torch.inf)
    mask[:, :, 0, :3], mask[:, :, 1, reach - 70 :] = 0.0, 0.0
    writes = torch.tensor([1, reach - 1, reach + 1, 2 * reach - 1])
    expected = cache.clone()
    expected.flatten(0, 1)[writes] = projected[:, heads * d :]
    keys, values = (t.unflatten(-1, (heads, d)).transpose(1, 2) for t in expected.split(heads * d, -1))
    queries = projected[:, : heads * d].view(groups, slots, heads, d).transpose(1, 2)
    wanted = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    wanted = wanted.transpose(1, 2).reshape(groups * slots, -1)
    got = triton_attention.attend(projected, cache, mask, writes, heads)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(cache, expected)
    cache[0, 0] = torch.nan
    got = triton_attention.attend(projected, cache, mask, writes, heads)
    assert got[0].isnan().all() and torch.equal(got[2:], got[2:].nan_to_num())


if __name__ == "__main__":
    step_choice.CAPACITY, triton_attention.JOINED = 100, 2
    with torch.inference_mode():
        for check in (sums, unseen, steps, company, choices):
            start = time.monotonic()
            check()
            print(check.__name__, f"{time.monotonic() - start:.1f} s")
