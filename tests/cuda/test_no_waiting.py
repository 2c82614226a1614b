"""Every stage on a GPU that is only pretended: all tensors in one place, and nothing that waits for it.
Full-size shapes would say no more than mini ones."""

import dataclasses

import pytest
import torch

from pipeline.config import AlignmentConfig, load_config
from pipeline.gpt.search import SearchState, cycle
from pipeline.gpt.step import StepBuffers, StepWeights, plain
from pipeline.model import MODULES
from pipeline.s2mel.player import MAX_STEPS, StepState, euler
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
    with fake_gpu(), NoWaiting(), pytest.raises(RuntimeError):
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
            weights = StepWeights.of(gpt)
            cycle(weights, plain(weights), buffers, state, PROMPT + slots, 32)
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


@pytest.mark.parametrize("batch", [1, 2])
def test_a_step_of_the_flow(batch):
    frames, channels = 30, CONFIG.audio.n_mels
    with fake_gpu() as place, torch.inference_mode():
        dit = place(lambda: MODULES["s2mel", "cfm"](CONFIG)).estimator
        prompt = torch.zeros(batch, channels, frames, device=DEVICE)
        condition = torch.zeros(batch, frames, CONFIG.s2mel.dit.content_dim, device=DEVICE)
        style = torch.zeros(batch, CONFIG.s2mel.dit.style_dim, device=DEVICE)
        with NoWaiting():
            static = dit.prepare(prompt, condition, style)
        state = StepState(
            torch.zeros(1, channels, frames, device=DEVICE),
            static,
            torch.zeros(frames, dtype=torch.bool, device=DEVICE),
            torch.zeros(MAX_STEPS + 1, device=DEVICE),
            torch.zeros(1, dtype=torch.long, device=DEVICE),
            torch.zeros((), device=DEVICE),
        )
        with NoWaiting():
            euler(dit, state)
        assert state.x.device == DEVICE


@pytest.mark.parametrize("dtype", HALVES[1:])
def test_the_modules_that_run_once(dtype):
    """Each takes and gives what the next one needs, on the device."""
    with fake_gpu() as place, torch.inference_mode():
        parts = {key: place(lambda make=make: make(CONFIG), dtype) for key, make in MODULES.items()}
        config = CONFIG.semantic
        frames = torch.zeros(1, 40, config.mel_bins * config.stride, device=DEVICE, dtype=dtype)
        mask = torch.ones(1, 40, dtype=torch.long, device=DEVICE)
        with NoWaiting():
            features = parts["semantic", ""](frames, mask)
            codec = parts["codec", ""]
            codes = codec.encode(features)
            latents = torch.zeros(1, 40, CONFIG.gpt.model_dim, device=DEVICE, dtype=dtype)
            mixed = codec.vq2emb(codes) + parts["s2mel", "gpt_layer"](latents)
            condition = parts["s2mel", "length_regulator"](mixed, 68)
            style = parts["speaker", ""](torch.zeros(1, 200, 80, device=DEVICE, dtype=dtype))
            wave = parts["vocoder", ""](torch.zeros(1, 80, 12, device=DEVICE, dtype=dtype))
        assert condition.shape == (1, 68, CONFIG.s2mel.dit.content_dim)
        assert {t.device for t in (condition, style, wave)} == {DEVICE}
        assert {t.dtype for t in (condition, style, wave)} == {dtype}
