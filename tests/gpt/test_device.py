"""Searching on the device, run on the CPU: the codes of `decode`, whatever the company, the order of joining and what
happens to a neighbour."""

import math
import random
from unittest import mock

import numpy as np
import pytest
import torch

from checks.golden import golden_module
from checks.heads import ShiftedHead
from checks.parity import SIZES, golden_config
from pipeline.conditioning.emotion import blend
from pipeline.deterministic import noise
from pipeline.gpt import decode as reference
from pipeline.gpt.device import DeviceDecoder, DeviceDecoders, OverflowInGPT, decode_together
from pipeline.gpt.noise import LOW_WORD, draw_key, gumbel, squares
from pipeline.gpt.sampling import SamplingOptions
from pipeline.gpt.search import STEP_BITS, suffix_sums
from tests.conftest import GOLDEN
from tests.gpt.conftest import random_prompt

TEXTS = ([5, 9, 17, 30, 2], [11, 8, 40, 3, 3, 21, 60, 9, 1], [7])
LIMIT = 24


def options(beams=3, sample=True, limit=LIMIT, **changes):
    given = {
        "temperature": 0.8,
        "top_k": 30,
        "top_p": 0.8,
        "repetition_penalty": 10.0,
        "length_penalty": 0.0,
        "mel_positions": "trained",
    }
    return SamplingOptions(do_sample=sample, num_beams=beams, max_codes=limit, **(given | changes))


SEARCHES = [
    options(1),
    options(1, sample=False),
    options(1, top_k=0, top_p=1.0, temperature=1.3),
    options(1, top_k=1, top_p=0.1),
    options(2, top_k=5, repetition_penalty=1.0),
    options(3),
    options(3, sample=False, mel_positions="published"),
    options(3, top_k=0, length_penalty=0.7),
    options(4, top_p=0.05, temperature=0.3, length_penalty=-1.0),
    options(16, top_k=20),
]


class Draws:
    """`sampling.draw` by the device's random numbers, one step after another."""

    def __init__(self, key):
        self.key, self.step = torch.tensor(key), 0

    def __call__(self, scores, count, generator):
        counter = (self.step << STEP_BITS) + torch.arange(scores.numel()).view(scores.shape)
        self.step += 1
        return (scores + gumbel(counter, self.key)).topk(count, dim=-1).indices


def expected(gpt, prompt, asked, key):
    with mock.patch.object(reference, "draw", Draws(key)):
        return reference.decode(gpt, prompt, asked, torch.Generator())


def assert_same(ours, wanted):
    assert ours.codes.tolist() == wanted.codes.tolist() and ours.stopped == wanted.stopped
    torch.testing.assert_close(ours.latents, wanted.latents, rtol=1e-4, atol=2e-5)


@pytest.fixture
def gpt(mini_model, monkeypatch):
    """One that stops by itself now and then."""
    gpt = mini_model.gpt
    monkeypatch.setitem(gpt._modules, "mel_head", ShiftedHead(gpt.mel_head, gpt.config.stop_mel_token, 0.6))
    return gpt


@pytest.mark.parametrize("asked", SEARCHES, ids=str)
def test_codes_are_those_of_the_plain_search(gpt, asked):
    decoders, stops = DeviceDecoders(gpt), 0
    for key in (1, 9999999999, 2**61 + 5):
        for text in TEXTS:
            prompt = random_prompt(gpt, text)
            with mock.patch("pipeline.gpt.device.draw_key", return_value=key):
                ours = decoders.decode(prompt, asked, torch.Generator())
            assert_same(ours, expected(gpt, prompt, asked, key))
            stops += ours.stopped
    assert len(decoders.kept) == 1


def test_golden_codes(monkeypatch):
    size = SIZES["mini"]
    config = golden_config(size, GOLDEN)
    gpt, found = golden_module(config, "exact", "gpt"), 0
    with np.load(GOLDEN / "mini_public.npz") as golden:
        ids = torch.from_numpy(golden["gpt.text_ids"]).long()
        features = noise("public.spk", 1, size.semantic_frames, config.semantic.hidden_size)
        emotion = noise("public.emo", 1, 80, config.semantic.hidden_size)
        with torch.inference_mode():
            merged = blend(gpt.emotion_vector(features), gpt.emotion_vector(emotion), 0.6)
            prompt = gpt.prompt_inputs(gpt.speaker_latents(features), merged, ids)
        limit = golden["gpt.greedy_codes"].shape[1]
        head = gpt.mel_head
        for name in golden.files:
            if "_codes" not in name or name.endswith("used"):
                continue
            bias = size.stop_bias if name.startswith("stop.") else 0.0
            gpt.mel_head = ShiftedHead(head, config.gpt.stop_mel_token, bias)
            asked = options(
                3 if "beam3" in name else 1,
                sample=False,
                limit=limit,
                repetition_penalty=1.0 if "no_penalty" in name else 10.0,
                length_penalty=1.0 if "length_penalty_1" in name else 0.0,
                mel_positions="trained" if "trained_positions" in name else "published",
            )
            ours = DeviceDecoders(gpt).decode(prompt, asked, torch.Generator())
            codes = ours.codes.tolist() + [config.gpt.stop_mel_token] * ours.stopped
            assert codes == golden[name][0].tolist(), name
            found += 1
    assert found > 6


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_company_and_order_of_joining_change_nothing(gpt, beams, seed):
    """Sequences of their own settings join at random steps, some are given up, some find a group that was used."""
    dice = random.Random(seed)
    kinds = [asked for asked in SEARCHES if asked.num_beams == beams]
    waiting = [
        (random_prompt(gpt, dice.choice(TEXTS)), dice.choice(kinds), dice.getrandbits(60) | 1)
        for _ in range(8)
    ]
    wanted = [expected(gpt, *sequence) for sequence in waiting]
    decoder = DeviceDecoder(gpt, 3, beams, LIMIT, 60)
    present, taken = {}, 0
    todo = list(enumerate(waiting))
    while todo or present:
        while todo and len(present) < 3 and dice.random() < 0.7:
            index, sequence = todo.pop(0)
            present[decoder.join(*sequence)] = index
        decoder.run(dice.randint(1, 4))
        if present and dice.random() < 0.05:
            group = dice.choice(list(present))
            decoder.leave(group)
            todo.append((present[group], waiting[present.pop(group)]))  # and comes again later
        for group in decoder.finished():
            assert_same(decoder.take(group), wanted[present.pop(group)])
            taken += 1
    assert taken == len(waiting)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_poisoned_sequence_is_told_and_touches_no_other(gpt, beams, bad):
    asked, prompts = options(beams), [random_prompt(gpt, text) for text in TEXTS]
    decoder = DeviceDecoder(gpt, 3, beams, LIMIT, 60)
    groups = [decoder.join(prompt, asked, key) for key, prompt in zip((3, 5, 7), prompts, strict=True)]
    decoder.run(2)
    decoder.buffers.rows[:, groups[1], :5] = bad
    decoder.run(LIMIT)
    assert decoder.finished() == groups
    with pytest.raises(OverflowInGPT, match="not finite"):
        decoder.take(groups[1])
    again = decoder.join(prompts[1], asked, 5)  # the group is clean for who comes next
    assert again == groups[1]
    for group, prompt, key in ((groups[0], prompts[0], 3), (groups[2], prompts[2], 7)):
        assert_same(decoder.take(group), expected(gpt, prompt, asked, key))
    decoder.run(LIMIT)
    assert decoder.finished() == [again]
    assert_same(decoder.take(again), expected(gpt, prompts[1], asked, 5))


def test_a_cancel_leaves_the_decoder_as_it_was(gpt):
    class Cancelled(BaseException):
        pass

    def cancel(step):
        if step >= 8:
            raise Cancelled

    asked, prompt, decoders = options(3), random_prompt(gpt, TEXTS[0]), DeviceDecoders(gpt)
    decoder = decoders.decoder(3, LIMIT)
    with pytest.raises(Cancelled):
        decode_together(decoder, [prompt], [asked], [11], cancel)
    assert decoder.free == [0]
    assert_same(decode_together(decoder, [prompt], [asked], [11])[0], expected(gpt, prompt, asked, 11))


def test_a_sequence_that_does_not_fit_is_refused(gpt):
    decoder, prompt = DeviceDecoder(gpt, 1, 1, LIMIT, 45), random_prompt(gpt, TEXTS[0])
    for asked in (options(1, limit=LIMIT + 1), options(3)):
        with pytest.raises(ValueError, match="there is room for"):
            decoder.join(prompt, asked, 1)
    with pytest.raises(ValueError, match="prompt of"):
        decoder.join(random_prompt(gpt, list(range(2, 40))), options(1), 1)
    decoder.join(prompt, options(1), 1)
    with pytest.raises(ValueError, match="all 1 groups"):
        decoder.join(prompt, options(1), 1)


def plain_squares(counter, key):
    """The published C, with Python's integers."""
    word = (1 << 64) - 1
    x = y = counter * key & word
    z = y + key & word
    for term in (y, z, y):
        x = x * x + term & word
        x = (x >> 32 | x << 32) & word
    return (x * x + z & word) >> 32


def test_random_numbers_are_those_of_the_published_generator():
    dice = random.Random(0)
    pairs = [(dice.getrandbits(45), dice.getrandbits(63) | 1) for _ in range(1000)]
    counters, keys = (torch.tensor(column) for column in zip(*pairs, strict=True))
    assert squares(counters, keys).tolist() == [plain_squares(*pair) for pair in pairs]


def test_random_numbers_are_even_and_steps_do_not_resemble_one_another():
    key = torch.tensor(draw_key(torch.Generator().manual_seed(0)))
    steps = torch.arange(200)[:, None] << STEP_BITS
    bits = squares(steps + torch.arange(2000), key).double() / LOW_WORD
    counts = torch.histc(bits.float(), 100, 0, 1)
    chi = float(((counts - 4000) ** 2 / 4000).sum())
    assert 50 < chi < 160  # 99 degrees of freedom
    together = torch.corrcoef(bits)
    assert float(together.fill_diagonal_(0).abs().max()) < 0.12  # five deviations
    noise = gumbel(steps + torch.arange(2000), key)
    assert abs(float(noise.mean()) - 0.57722) < 0.01 and abs(float(noise.var()) - math.pi**2 / 6) < 0.02
    assert bool(torch.isfinite(noise).all())


def test_sums_of_what_follows(generator):
    for length in (1, 2, 7, 64, 1000):
        x = torch.rand(3, length, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(suffix_sums(x), x.flip(-1).cumsum(-1).flip(-1))
