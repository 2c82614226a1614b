"""Score processors against the library whose semantics they follow."""

from functools import partial

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pipeline.gpt.sampling import draw, filter_scores, penalize_repetition, seen_tokens
from tests.gpt.conftest import sampling

VOCABULARY, START = 50, 48


options = partial(sampling, temperature=0.8, top_k=10, top_p=0.7, max_codes=10)


@pytest.fixture
def scores(generator):
    return 3 * torch.randn(4, VOCABULARY, generator=generator)


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize(
    "top_k, top_p, temperature", [(10, 0.7, 0.8), (1, 1.0, 1.5), (0, 0.05, 0.3), (50, 0.9, 1.0)]
)
def test_filters_are_those_of_transformers(scores, top_k, top_p, temperature, keep):
    expected = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        expected = TopKLogitsWarper(top_k, min_tokens_to_keep=keep)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p, min_tokens_to_keep=keep)(None, expected)
    ours = filter_scores(scores, options(top_k=top_k, top_p=top_p, temperature=temperature), keep)
    torch.testing.assert_close(ours, expected)


def test_repetition_penalty_is_that_of_transformers_with_ones_for_the_prompt(scores):
    drawn = torch.tensor([[3, 7], [3, 3], [0, 1], [49, 2]])
    history = torch.cat([torch.ones(4, 5, dtype=torch.long), torch.full((4, 1), START), drawn], dim=1)
    seen = seen_tokens(4, VOCABULARY, START, torch.device("cpu")).scatter(1, drawn, True)
    torch.testing.assert_close(
        penalize_repetition(scores, seen, 10.0),
        RepetitionPenaltyLogitsProcessor(10.0)(history, scores.clone()),
    )


def test_draws_follow_the_distribution(generator):
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = draw(probabilities.log().expand(20000, -1), 1, generator)[:, 0]
    frequency = torch.bincount(drawn, minlength=4) / 20000
    torch.testing.assert_close(frequency, probabilities, atol=0.015, rtol=0)


def test_draws_are_without_replacement_and_skip_what_is_filtered(generator):
    scores = torch.zeros(100, 8)
    scores[:, 5:] = -torch.inf
    drawn = draw(scores, 5, generator)
    assert (drawn.sort(dim=1).values == torch.arange(5)).all()
    assert len({tuple(row) for row in drawn.tolist()}) > 20


@pytest.mark.parametrize(
    "field, value, allowed",
    [
        ("temperature", 0, "above 0"),
        ("top_p", 0, "above 0"),
        ("top_k", -1, "0 \\(off\\)"),
        ("num_beams", 0, "1 to 16"),
        ("repetition_penalty", 0, "above 0"),
        ("max_codes", 0, "1 or more"),
        ("mel_positions", "other", "trained or published"),
    ],
)
def test_an_option_out_of_range_is_an_error_that_says_what_is_allowed(field, value, allowed):
    with pytest.raises(ValueError, match=allowed):
        options(**{field: value})
