"""The lean step against the readable module: same hidden states and logits, for one sequence and for several
of different lengths, plain and packed."""

import copy
import dataclasses

import pytest
import torch

from pipeline.config import AlignmentConfig
from pipeline.gpt.model import KVCache
from pipeline.gpt.step import StepBuffers, StepWeights, step
from tests.gpt.conftest import random_prompt

TEXTS = ([5, 9, 17, 30, 2], [11, 8, 40, 3, 3, 21, 60, 9, 1], [7])
STEPS, SLOTS, CAPACITY = 4, 3, 120


@pytest.fixture(params=[False, True], ids=["free", "aligned"])
def gpt(mini_model, request, monkeypatch):
    gpt = mini_model.gpt
    if request.param:
        alignment = AlignmentConfig(1, (0, gpt.config.heads - 1), 0, 1)
        monkeypatch.setattr(gpt, "config", dataclasses.replace(gpt.config, alignment=alignment))
    return gpt


def by_module(gpt, text, tokens):
    """(hidden, logits) of every step by the module: one slot, its own cache; tokens [steps]."""
    prompt = random_prompt(gpt, text)
    start = torch.tensor([[gpt.config.start_mel_token]])
    inputs = torch.cat([prompt, gpt.mel_inputs(start, torch.zeros_like(start))], dim=1)
    cache = KVCache(torch.empty(gpt.config.layers, CAPACITY, 2 * gpt.config.model_dim))
    gpt.latents(inputs, cache)
    reading = StepBuffers.empty(gpt.config, 1, 1, 1, inputs.shape[1], inputs.device, inputs.dtype).reading
    if reading is not None:
        reading.begin(0, gpt.text_rows(prompt.shape[1]))
    cache.reading = reading
    for position, token in enumerate(tokens.tolist()):
        fed = gpt.mel_inputs(torch.tensor([[token]]), torch.tensor([[position + 1]]))
        hidden = gpt.latents(fed, cache)[0, 0]
        yield hidden, gpt.mel_head(hidden)


@torch.inference_mode()
def test_a_step_equals_the_module_in_every_group_and_slot(gpt, generator):
    """Three sequences of three slots each, every one with a prompt and a length of its own."""
    groups = len(TEXTS)
    tokens = torch.randint(0, gpt.config.start_mel_token, (STEPS, groups, SLOTS), generator=generator)
    prompts = [random_prompt(gpt, text) for text in TEXTS]
    longest = max(prompt.shape[1] for prompt in prompts) + 1
    shape = (groups, SLOTS, CAPACITY, longest)
    buffers = StepBuffers.empty(gpt.config, *shape, prompts[0].device, prompts[0].dtype)
    buffers.rows.zero_()
    start = torch.tensor([[gpt.config.start_mel_token]])
    lengths = []
    for group, prompt in enumerate(prompts):
        inputs = torch.cat([prompt, gpt.mel_inputs(start, torch.zeros_like(start))], dim=1)
        gpt.latents(inputs, buffers.cache(group))
        lengths.append(inputs.shape[1])
        buffers.mask[group, ..., : lengths[-1]] = 0
        if buffers.reading is not None:
            buffers.reading.begin(group, gpt.text_rows(prompt.shape[1]))
    found = []
    weights = StepWeights.of(gpt)
    for index in range(STEPS):
        for group in range(groups):
            first = lengths[group] + index * SLOTS
            buffers.mask[group, 0, :, first : first + SLOTS].fill_diagonal_(0)
            rows = slice(group * SLOTS, (group + 1) * SLOTS)
            buffers.writes[rows] = group * CAPACITY + first + torch.arange(SLOTS)
        buffers.positions.fill_(index + 1)
        buffers.tokens.copy_(tokens[index].flatten())
        step(weights, buffers, longest + (index + 1) * SLOTS)
        found.append((buffers.hidden.clone(), buffers.logits.clone()))
    for group, text in enumerate(TEXTS):
        for slot in range(SLOTS):
            expected = by_module(gpt, text, tokens[:, group, slot])
            for (hidden, logits), ours in zip(expected, found, strict=True):
                row = group * SLOTS + slot
                torch.testing.assert_close(ours[0][row], hidden, rtol=1e-4, atol=2e-5)
                torch.testing.assert_close(ours[1][row], logits, rtol=1e-4, atol=2e-5)


@torch.inference_mode()
def test_weights_are_read_when_the_step_begins(gpt):
    changed = copy.copy(gpt)
    head = torch.nn.Linear(gpt.config.model_dim, gpt.config.number_mel_codes)
    changed._modules = dict(gpt._modules, mel_head=head)
    rows = torch.randn(2, gpt.config.model_dim)
    torch.testing.assert_close(StepWeights.of(changed).head(rows), head(rows))
