"""Every stage on a GPU that is only pretended: all tensors in one place, and nothing that waits for it. Full-size shapes
would say no more than mini ones."""

import dataclasses

import pytest
import torch

from pipeline.config import AlignmentConfig, load_config
from pipeline.gpt.search import SearchState, cycle
from pipeline.gpt.step import StepBuffers, StepWeights
from pipeline.model import MODULES
from tests.cuda.fake import DEVICE, NoWaiting, Waits, fake_gpu

CONFIG = load_config("mini")
GROUPS, CODES, PROMPT = 2, 20, 50
HALVES = (torch.float32, torch.float16)


@pytest.mark.parametrize(
    "ask",
    [
        int,
        bool,
        torch.Tensor.item,
        torch.Tensor.tolist,
        torch.Tensor.cpu,
        torch.nonzero,
        lambda x: x.to("cpu"),
        lambda x: torch.zeros(1).to(x.device),
        lambda x: torch.zeros(1).copy_(x),
        lambda x: x[:1].copy_(torch.zeros(1)),
    ],
)
def test_what_waits_is_found_out(ask):
    with fake_gpu():
        x = torch.ones(1, device=DEVICE)
        with NoWaiting(), pytest.raises(Waits):
            ask(x)


def test_a_tensor_in_the_wrong_place_is_found_out():
    with fake_gpu(), NoWaiting():
        with pytest.raises(RuntimeError):
            torch.ones(3, device=DEVICE) + torch.ones(3)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("dtype", HALVES)
def test_a_step_of_the_search(slots, dtype, aligned):
    config = CONFIG
    if aligned:
        gpt = dataclasses.replace(config.gpt, alignment=AlignmentConfig(1, (0,), 0, 1))
        config = dataclasses.replace(config, gpt=gpt)
    with fake_gpu() as place, torch.inference_mode():
        gpt = place(lambda: MODULES["gpt", ""](config), dtype)
        shape = (GROUPS, slots, PROMPT + slots * CODES, PROMPT)
        buffers = StepBuffers.empty(config.gpt, *shape, DEVICE, dtype)
        state = SearchState.empty(config.gpt, GROUPS, slots, CODES, DEVICE, dtype)
        with NoWaiting():
            cycle(StepWeights.of(gpt), buffers, state, PROMPT + slots, 32)
        assert buffers.logits.device == DEVICE and buffers.logits.dtype == dtype


@pytest.mark.parametrize("dtype", HALVES)
def test_a_prompt_and_its_conditioners(dtype):
    with fake_gpu() as place, torch.inference_mode():
        gpt = place(lambda: MODULES["gpt", ""](CONFIG), dtype)
        features = torch.zeros(1, 99, CONFIG.semantic.hidden_size, device=DEVICE, dtype=dtype)
        ids = torch.zeros(1, 7, device=DEVICE, dtype=torch.long)
        buffers = StepBuffers.empty(CONFIG.gpt, 1, 3, 200, 60, DEVICE, dtype)
        with NoWaiting():
            prompt = gpt.prompt_inputs(gpt.speaker_latents(features), gpt.emotion_vector(features), ids)
            hidden = gpt.latents(prompt, buffers.cache(0))
        assert hidden.device == DEVICE and hidden.dtype == dtype
