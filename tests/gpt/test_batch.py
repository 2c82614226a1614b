"""Sequences in one batch: each gets the codes it has alone, whoever else is there."""

import dataclasses
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.heads import ShiftedHead
from pipeline.config import AlignmentConfig
from pipeline.gpt.batch import BatchDecoder, alike
from pipeline.gpt.decode import NonFiniteError, decode
from pipeline.gpt.sampling import SamplingOptions
from tests.gpt.conftest import random_prompt, sampling


@pytest.fixture(scope="module")
def gpt(mini_model):
    """Aligned, so that every part of a step is at work."""
    gpt, config = mini_model.gpt, mini_model.gpt.config
    head = gpt.mel_head
    gpt.config = dataclasses.replace(config, alignment=AlignmentConfig(1, (0, config.heads - 1), 0, 1))
    yield gpt
    gpt.config, gpt.mel_head = config, head


options = partial(sampling, max_codes=20)


@dataclasses.dataclass(frozen=True)
class Asked:
    text: tuple[int, ...]
    options: SamplingOptions
    seed: int
    joins: int  # before which step
    leaves: int | None  # after how many steps of its own it is cancelled


def generator(asked: Asked) -> torch.Generator:
    return torch.Generator().manual_seed(asked.seed)


def together(gpt, crowd: list[Asked]) -> list:
    """What everyone decoded in company; None for who was cancelled."""
    batch, here, found = BatchDecoder(gpt), {}, [None] * len(crowd)
    clock = 0
    while len(batch) or any(asked.joins >= clock for asked in crowd):
        for place, asked in enumerate(crowd):
            if asked.joins == clock:
                prompt = random_prompt(gpt, list(asked.text))
                here[place] = batch.join(prompt, asked.options, generator(asked))
        for place, asked in enumerate(crowd):
            if asked.leaves is not None and clock == asked.joins + asked.leaves:
                batch.leave(here[place])
        for ended in batch.step():
            place = next(place for place, sequence in here.items() if sequence is ended)
            assert ended.error is None
            found[place] = ended.decoded
        clock += 1
    return found


asked = st.builds(
    Asked,
    text=st.lists(st.integers(2, 619), min_size=1, max_size=12).map(tuple),
    options=st.builds(
        options,
        do_sample=st.booleans(),
        num_beams=st.sampled_from([1, 1, 2, 3]),
        temperature=st.sampled_from([0.5, 1.0, 1.5]),
        top_k=st.sampled_from([0, 5, 30]),
        top_p=st.sampled_from([0.7, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 10.0]),
        length_penalty=st.sampled_from([0.0, 1.0]),
        max_codes=st.integers(1, 8),
    ),
    seed=st.integers(0, 2**32 - 1),
    joins=st.integers(0, 7),
    leaves=st.one_of(st.none(), st.none(), st.integers(0, 6)),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(crowd=st.lists(asked, min_size=2, max_size=4))
def test_codes_do_not_depend_on_the_company(gpt, crowd):
    """Random arrivals, lengths, settings and cancels; bit for bit."""
    for one, found in zip(crowd, together(gpt, crowd), strict=True):
        if one.leaves is None:
            alone = decode(gpt, random_prompt(gpt, list(one.text)), one.options, generator(one))
            assert torch.equal(found.codes, alone.codes) and found.stopped == alone.stopped
            assert torch.equal(found.latents, alone.latents)


def test_the_kernels_treat_every_row_alike(gpt, mini_model):
    assert alike(gpt)


def test_a_head_that_looks_at_the_number_of_rows_is_told(gpt, monkeypatch):
    head = ShiftedHead(gpt.mel_head, 0, 0.0)
    rows = head.rows
    head.rows = lambda x: rows(x) * (1 + 1e-6 * len(x))
    monkeypatch.setattr(gpt, "mel_head", head)
    assert not alike(gpt)


def test_a_poisoned_row_does_not_touch_its_neighbours(gpt):
    batch = BatchDecoder(gpt)
    prompts = [random_prompt(gpt, text) for text in ([5, 9, 17], [30, 2], [11, 8, 40])]
    sequences = [batch.join(prompt, options(), torch.Generator().manual_seed(0)) for prompt in prompts]
    batch.step()
    with torch.inference_mode():
        sequences[1].state.buffers.rows.fill_(torch.nan)
    ended = []
    while len(batch):
        ended += batch.step()
    assert isinstance(sequences[1].error, NonFiniteError) and sequences[1].decoded is None
    for place in (0, 2):
        alone = decode(gpt, prompts[place], options(), torch.Generator().manual_seed(0))
        assert torch.equal(sequences[place].decoded.codes, alone.codes)


def test_what_a_callback_raises_ends_its_sequence_alone(gpt, monkeypatch):
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))

    def enough(step):
        if step == 3:
            raise ValueError("enough")

    batch, prompt = BatchDecoder(gpt), random_prompt(gpt, [5, 9, 17])
    first = batch.join(prompt, options(), torch.Generator(), enough)
    second = batch.join(prompt, options(), torch.Generator())
    while len(batch):
        batch.step()
    assert str(first.error) == "enough" and first.count == 3
    assert len(second.decoded.codes) == 20 and not second.decoded.stopped


def test_who_leaves_is_gone_and_leaving_twice_is_nothing(gpt):
    batch = BatchDecoder(gpt)
    sequence = batch.join(random_prompt(gpt, [5]), options(), torch.Generator())
    batch.leave(sequence)
    batch.leave(sequence)
    assert len(batch) == 0 and batch.step() == []


def test_bytes_are_those_of_the_cache(gpt):
    batch, prompt = BatchDecoder(gpt), random_prompt(gpt, [5, 9])
    sequence = batch.join(prompt, options(num_beams=3), torch.Generator())
    buffers = sequence.state.buffers
    taken = buffers.rows.nbytes + buffers.mask.nbytes + buffers.logits.nbytes
    assert taken <= batch.bytes(prompt.shape[1], options(num_beams=3)) <= 1.2 * taken


def test_codes_so_far_are_the_first_of_the_whole(gpt, monkeypatch):
    monkeypatch.setattr(gpt, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, -100.0))
    batch = BatchDecoder(gpt)
    sequence = batch.join(random_prompt(gpt, [5, 9]), options(), torch.Generator())
    for _ in range(7):
        batch.step()
    early = sequence.so_far()
    while len(batch):
        batch.step()
    assert len(early.codes) == 7 and torch.equal(early.codes, sequence.decoded.codes[:7])
    assert torch.equal(early.latents, sequence.decoded.latents[:7])
    with pytest.raises(ValueError, match="3 beams"):
        batch.join(random_prompt(gpt, [5]), options(num_beams=3), torch.Generator()).so_far()
