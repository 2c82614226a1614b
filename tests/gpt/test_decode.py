"""Invariants of the decode loop: the cache, the latents, the limits, the seeds."""

import pytest
import torch

from checks.heads import ShiftedHead
from pipeline.gpt.decode import advance, decode, latent_pass, prepare
from tests.gpt.conftest import random_prompt, sampling


@pytest.fixture(scope="module")
def gpt(mini_model):
    return mini_model.gpt


@pytest.fixture(scope="module")
def prompt(gpt):
    return random_prompt(gpt, [5, 9, 17, 30, 2])


def run(gpt, prompt, seed=0, **changes):
    return decode(gpt, prompt, sampling(**changes), torch.Generator().manual_seed(seed))


@pytest.fixture
def never_stops(gpt, monkeypatch):
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("do_sample", [False, True])
def test_latents_of_the_decode_are_those_of_a_second_pass(gpt, prompt, never_stops, beams, do_sample):
    decoded = run(gpt, prompt, num_beams=beams, do_sample=do_sample)
    assert len(decoded.codes) == 30 and not decoded.stopped
    again = latent_pass(gpt, prompt, decoded.codes)
    assert torch.linalg.norm(again - decoded.latents) / torch.linalg.norm(again) < 1e-5


def test_published_positions_take_their_latents_from_a_second_pass(gpt, prompt, never_stops):
    decoded = run(gpt, prompt, mel_positions="published")
    torch.testing.assert_close(decoded.latents, latent_pass(gpt, prompt, decoded.codes))
    assert not torch.equal(decoded.codes, run(gpt, prompt).codes)


def test_greedy_equals_search_without_a_cache(gpt, prompt, never_stops):
    """The independent reference: the whole sequence again at every step."""
    decoded = run(gpt, prompt, do_sample=False, repetition_penalty=1.0, max_codes=12)
    codes: list[int] = []
    for _ in range(12):
        tokens = torch.tensor([gpt.config.start_mel_token, *codes])
        inputs = torch.cat([prompt, gpt.mel_inputs(tokens, torch.arange(len(tokens)))[None]], dim=1)
        codes.append(int(gpt.mel_head(gpt.latents(inputs)[0, -1]).argmax()))
    assert decoded.codes.tolist() == codes


def test_the_same_seed_gives_the_same_codes(gpt, prompt, never_stops):
    for beams in (1, 3):
        assert torch.equal(
            run(gpt, prompt, 0, num_beams=beams).codes, run(gpt, prompt, 0, num_beams=beams).codes
        )
        assert not torch.equal(
            run(gpt, prompt, 0, num_beams=beams).codes, run(gpt, prompt, 1, num_beams=beams).codes
        )


def test_beam_search_finds_at_least_what_greedy_finds(gpt, prompt, never_stops):
    def score(codes):
        tokens = torch.cat([torch.tensor([gpt.config.start_mel_token]), codes[:-1]])
        inputs = torch.cat([prompt, gpt.mel_inputs(tokens, torch.arange(len(tokens)))[None]], dim=1)
        logs = gpt.mel_head(gpt.latents(inputs)[0, prompt.shape[1] :]).log_softmax(-1)
        return float(logs.gather(1, codes[:, None]).sum())

    greedy = run(gpt, prompt, do_sample=False, repetition_penalty=1.0, max_codes=6)
    wide = run(gpt, prompt, do_sample=False, repetition_penalty=1.0, max_codes=6, num_beams=8)
    assert score(wide.codes) >= score(greedy.codes)


@pytest.mark.parametrize("beams", [1, 3])
def test_an_immediate_stop_gives_no_codes(gpt, prompt, beams, monkeypatch):
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, 1000.0))
    decoded = run(gpt, prompt, num_beams=beams)
    assert decoded.stopped and len(decoded.codes) == 0 and decoded.latents.shape == (0, gpt.config.model_dim)


def test_codes_never_exceed_the_models_positions(gpt, prompt, never_stops):
    decoded = run(gpt, prompt, max_codes=10_000)
    assert len(decoded.codes) == gpt.config.max_mel_tokens


def test_buffers_keep_their_addresses(gpt, prompt):
    state = prepare(gpt, prompt, 3, 5, "trained")

    def addresses():
        return [value.data_ptr() for value in vars(state.buffers).values() if isinstance(value, torch.Tensor)]

    before = addresses()
    advance(state, torch.tensor([1, 2, 3]))
    advance(state, torch.tensor([4, 5, 6]), torch.tensor([2, 2, 0]))
    assert addresses() == before


def test_a_step_callback_may_end_the_decode(gpt, prompt, never_stops):
    class Enough(Exception):
        pass

    def stop_at_three(step):
        if step == 3:
            raise Enough

    with pytest.raises(Enough):
        decode(gpt, prompt, sampling(), torch.Generator(), stop_at_three)


def test_text_longer_than_the_positions_is_refused(gpt):
    with pytest.raises(ValueError, match="161 tokens; the model takes at most 160"):
        gpt.text_inputs(torch.zeros(1, 161, dtype=torch.long))
