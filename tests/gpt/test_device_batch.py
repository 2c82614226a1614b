"""The GPU's batch behind the methods of the CPU's: codes in company, cancels, errors, memory."""

import pytest
import torch

from pipeline.gpt.device import CHECK_EVERY, DeviceDecoder, OverflowInGPT
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.gpt.noise import draw_key
from tests.gpt.conftest import random_prompt
from tests.gpt.test_device import TEXTS, assert_same, expected, gpt, options  # noqa: F401 - gpt is a fixture

PLENTY = 1 << 40


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def finish(batch):
    ended = []
    for _ in range(200):
        if not len(batch):
            return ended
        ended += batch.step()
    raise AssertionError("it does not end")


def test_sequences_with_and_without_beams_together(gpt):  # noqa: F811
    batch, wanted = DeviceBatch(gpt, 8, PLENTY), {}
    for seed, asked in enumerate((options(1), options(3), options(1, sample=False), options(3))):
        prompt = random_prompt(gpt, TEXTS[seed % len(TEXTS)])
        sequence = batch.join(prompt, asked, seeded(seed))
        wanted[sequence] = expected(gpt, prompt, asked, draw_key(seeded(seed)))
        batch.step()
    # some may have ended on the way: nobody is lost
    ended = set(finish(batch)) | {s for s in wanted if s.decoded is not None}
    assert ended == set(wanted)
    for sequence, codes in wanted.items():
        assert_same(sequence.decoded, codes)
        assert sequence.count == len(codes.codes)


def test_codes_so_far_are_the_first_of_all(gpt):  # noqa: F811
    batch, prompt, asked = DeviceBatch(gpt, 2, PLENTY), random_prompt(gpt, TEXTS[1]), options(1)
    whole = expected(gpt, prompt, asked, draw_key(seeded(4)))
    sequence = batch.join(prompt, asked, seeded(4))
    while len(batch):
        found = sequence.so_far()
        length = len(found.codes)
        assert found.codes.tolist() == whole.codes[:length].tolist() and length <= sequence.count
        torch.testing.assert_close(found.latents, whole.latents[:length], rtol=1e-4, atol=2e-5)
        batch.step()
    assert_same(sequence.so_far(), whole)
    with pytest.raises(ValueError, match="at its end only"):
        batch.join(prompt, options(3), seeded(0)).so_far()


def test_what_is_raised_before_a_step_ends_one_alone(gpt):  # noqa: F811
    def stop(step):
        if step >= CHECK_EVERY:
            raise TimeoutError("too long")

    batch, prompt, asked = DeviceBatch(gpt, 3, PLENTY), random_prompt(gpt, TEXTS[0]), options(3)
    late = batch.join(prompt, asked, seeded(1), stop)
    good = batch.join(prompt, asked, seeded(2))
    gone = batch.join(prompt, asked, seeded(3))
    batch.leave(gone)
    batch.leave(gone)
    assert set(finish(batch)) == {late, good} and gone.decoded is None
    assert isinstance(late.error, TimeoutError) and late.decoded is None
    assert_same(good.decoded, expected(gpt, prompt, asked, draw_key(seeded(2))))


def test_numbers_that_overflow_are_one_sequences_error(gpt):  # noqa: F811
    batch, prompt = DeviceBatch(gpt, 2, PLENTY), random_prompt(gpt, TEXTS[0])
    bad, good = (batch.join(prompt, options(1), seeded(seed)) for seed in (1, 2))
    bad.decoder.buffers.rows[:, bad.group, :3] = torch.nan
    finish(batch)
    assert isinstance(bad.error, OverflowInGPT)
    assert_same(good.decoded, expected(gpt, prompt, options(1), draw_key(seeded(2))))


def test_memory_bounds_the_batch_and_idle_beams_make_way(gpt):  # noqa: F811
    batch = DeviceBatch(gpt, 8, 0)
    prompt, each = random_prompt(gpt, TEXTS[0]), batch.bytes(50, options(3))
    batch.cache_bytes = 2 * each + 5
    for seed in (1, 2):
        batch.join(prompt, options(3), seeded(seed))
    with pytest.raises(ValueError, match="all 2 groups are taken"):
        batch.join(prompt, options(3), seeded(3))
    finish(batch)
    batch.join(prompt, options(1), seeded(1))
    assert list(batch.decoders) == [1]
    held = DeviceDecoder.bytes(gpt.config, 2, 3, gpt.config.max_mel_tokens, 600, torch.float32)
    assert held < 2 * each + (1 << 22)


def test_two_numbers_of_beams_share_the_memory(gpt):  # noqa: F811
    batch, prompt = DeviceBatch(gpt, 8, 0), random_prompt(gpt, TEXTS[0])
    one, three = batch.group_bytes(1), batch.group_bytes(3)
    batch.cache_bytes = 2 * three + one
    assert batch.room(options(1)) and batch.room(options(3))
    first = batch.join(prompt, options(3), seeded(1))
    assert batch.room(options(3)) and batch.room(options(1))
    batch.join(prompt, options(1), seeded(2))
    assert not batch.room(options(1))
    assert not batch.room(options(2))
    with pytest.raises(ValueError, match="no room for 2 beams beside 2 sequences"):
        batch.join(prompt, options(2), seeded(3))
    batch.leave(first)
    assert batch.room(options(2))
    batch.join(prompt, options(2), seeded(3))
    assert sorted(batch.decoders) == [1, 2]
    finish(batch)


def small_device(most, asked):
    """A maker of decoders on a device with room for `most` sequences."""

    def make(model, groups, *sizes):
        asked.append(groups)
        if groups > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return DeviceDecoder(model, groups, *sizes)

    return make


def test_too_little_memory_means_smaller_batches_and_is_told(gpt):  # noqa: F811
    asked, prompt = [], random_prompt(gpt, TEXTS[0])
    batch = DeviceBatch(gpt, 5, PLENTY, make=small_device(2, asked))
    waiting, found = [1, 2, 3, 4, 5], {}
    while waiting or len(batch):
        while waiting and batch.room(options(1)):
            seed = waiting.pop(0)
            found[seed] = batch.join(prompt, options(1), seeded(seed))
        assert len(batch) <= 2
        batch.step()
    assert asked == [5, 3, 2]
    assert batch.notes(options(1)) == ["the device had too little memory: 2 segments at once instead of 5"]
    assert not batch.notes(options(3))
    for seed, sequence in found.items():
        assert_same(sequence.decoded, expected(gpt, prompt, options(1), draw_key(seeded(seed))))


def test_memory_for_not_even_one_is_an_error(gpt):  # noqa: F811
    batch = DeviceBatch(gpt, 2, PLENTY, make=small_device(0, []))
    with pytest.raises(torch.OutOfMemoryError):
        batch.join(random_prompt(gpt, TEXTS[0]), options(1), seeded(1))
    assert not len(batch) and not batch.decoders
