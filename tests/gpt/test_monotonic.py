"""Monotonic attention: a slot's place in the text, what its heads may see, and that a wide window changes
nothing.
"""

import dataclasses
from itertools import pairwise

import pytest
import torch

from pipeline.config import AlignmentConfig
from pipeline.gpt.decode import advance, decode, prepare
from pipeline.gpt.monotonic import ReadingPlaces
from pipeline.gpt.sampling import SamplingOptions
from tests.gpt.conftest import random_prompt

TEXT = [5, 9, 17, 30, 2, 11, 8, 40]
ALL = 1000  # more tokens than any text has


@pytest.fixture
def gpt(mini_model, monkeypatch):
    """The mini GPT; `gpt.follow(back, ahead)` lets the heads of its first layer follow the text."""
    gpt, published = mini_model.gpt, mini_model.gpt.config

    def follow(back: int, ahead: int) -> None:
        alignment = AlignmentConfig(0, tuple(range(published.heads)), back, ahead)
        monkeypatch.setattr(gpt, "config", dataclasses.replace(published, alignment=alignment))

    monkeypatch.setattr(gpt, "follow", follow, raising=False)
    return gpt


@pytest.fixture
def prompt(gpt):
    return random_prompt(gpt, TEXT)


def codes(gpt, prompt, beams: int, do_sample: bool) -> list[int]:
    options = SamplingOptions(do_sample, 1.0, 30, 0.9, beams, 10.0, 0.0, 25, "trained")
    return decode(gpt, prompt, options, torch.Generator().manual_seed(3)).codes.tolist()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("do_sample", [False, True])
def test_a_window_over_the_whole_text_changes_no_code_and_a_narrow_one_does(gpt, prompt, beams, do_sample):
    free = codes(gpt, prompt, beams, do_sample)
    gpt.follow(ALL, ALL)
    assert codes(gpt, prompt, beams, do_sample) == free
    gpt.follow(0, 1)
    assert codes(gpt, prompt, beams, do_sample) != free


def test_the_rows_of_the_text_hold_its_tokens(gpt, prompt):
    rows = gpt.text_rows(prompt.shape[1])
    assert len(rows) == len(TEXT)
    assert torch.equal(prompt[:, rows.start : rows.stop], gpt.text_inputs(torch.tensor([TEXT]))[:, 1:-1])


def test_slots_read_by_themselves(gpt, prompt):
    """Two slots with different codes, and after they changed places, equal two searches of one slot each."""
    gpt.follow(0, 1)
    pair = prepare(gpt, prompt, 2, 8, "trained")
    singles = [prepare(gpt, prompt, 1, 8, "trained") for _ in range(2)]
    for tokens in ([3, 60], [14, 7], [55, 55]):
        advance(pair, torch.tensor(tokens))
        for single, token in zip(singles, tokens, strict=True):
            advance(single, torch.tensor([token]))
    advance(pair, torch.tensor([21, 33]), torch.tensor([1, 0]))
    for single, token in zip(singles[::-1], [21, 33], strict=True):
        advance(single, torch.tensor([token]))
    torch.testing.assert_close(
        pair.hidden, torch.cat([single.hidden for single in singles[::-1]]), rtol=1e-4, atol=1e-5
    )
    assert pair.buffers.reading.places[0].tolist() == [
        int(single.buffers.reading.places) for single in singles[::-1]
    ]


def test_a_place_moves_forward_only_and_by_no_more_than_allowed():
    heads, width, text = 3, 4, range(2, 12)
    place = ReadingPlaces(AlignmentConfig(0, (0, 2), 1, 3), heads, 1, 1, text.stop + 1, torch.device("cpu"))
    place.begin(0, text)
    keys = torch.zeros(heads, 20, width)

    def step(token: int, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Attend to one token of the text, less to others the farther they are: additive mask [H, T]."""
        keys[:, text.start : text.stop] = -100.0 * (torch.arange(len(text)) - token).abs()[None, :, None]
        blank = torch.zeros(1, 1, 1, 20) if mask is None else mask
        return place.follow(blank, torch.ones(1, heads, 1, width), keys[None])[0, :, 0]

    seen = step(9)
    assert torch.equal(seen[1], torch.zeros(20)), "a head that does not follow the text sees all"
    closed = [row for row in text if not 0 <= row - text.start <= 3]
    for head in (0, 2):
        assert (torch.isinf(seen[head]).nonzero()[:, 0]).tolist() == closed
    assert place.places.item() <= 3
    at = [int(place.places)]
    for token in (9, 2, 3, 9, 9, 9, 0, 9):
        step(token)
        at.append(int(place.places))
    assert all(0 <= after - before <= 3 for before, after in pairwise(at)) and at[-1] == 9
    mask = torch.zeros(1, 1, 1, 20)
    mask[..., 19] = -torch.inf
    assert torch.isinf(step(9, mask)[:, 19]).all(), "what the slot must not see stays hidden"
    place.reorder(0, torch.tensor([0]))
    assert place.places.tolist() == [[9]]
