"""Parts to a whole: the same samples at once and chunk by chunk, and times that are true."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from service.finish.join import Joiner
from service.finish.segment import finish_segment
from tests.service.finish.conftest import RATE, noise, silence


def join(parts, rate, gap_seconds=0.0):
    """The whole wave [T], and for each part its first sample and one past its last."""
    joiner = Joiner(rate, gap_seconds)
    done = [joiner.add(part) for part in parts]
    whole = torch.cat([torch.zeros(0), *(chunk.wave for chunk in done)])
    return whole, [(chunk.start, chunk.end) for chunk in done]


ONE, TWO = torch.ones(10), torch.full((5,), 2.0)
NONE = torch.zeros(0)


def test_gap_between_waves_but_not_around():
    wave, times = join([ONE, TWO], 100, 0.2)
    assert wave.tolist() == [1] * 10 + [0] * 20 + [2] * 5
    assert times == [(0, 10), (30, 35)]


def test_a_silence_takes_the_place_of_the_gap():
    wave, times = join([0.1, ONE, 0.03, TWO, 0.0, ONE, 0.05], 100, 0.2)
    assert wave.tolist() == [0] * 10 + [1] * 10 + [0] * 3 + [2] * 5 + [1] * 10 + [0] * 5
    assert times == [(0, 10), (10, 20), (20, 23), (23, 28), (28, 28), (28, 38), (38, 43)]


def test_an_empty_wave_is_as_if_not_there():
    wave, times = join([NONE, ONE, NONE, TWO, NONE], 100, 0.2)
    assert torch.equal(wave, join([ONE, TWO], 100, 0.2)[0])
    assert times == [(0, 0), (0, 10), (10, 10), (30, 35), (35, 35)]


def test_nothing_is_nothing():
    wave, times = join([], 100, 0.2)
    assert len(wave) == 0 and times == []
    assert join([NONE], 100)[1] == [(0, 0)]


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_impossible_silence(seconds):
    with pytest.raises(ValueError, match="a silence is .* s; it must be 0 or more"):
        join([ONE, seconds], 100)
    with pytest.raises(ValueError, match="a silence is"):
        join([ONE], 100, seconds)


PARTS = st.lists(st.one_of(st.integers(0, 50).map(torch.ones), st.floats(0, 0.3)), max_size=8)


@given(PARTS, st.floats(0, 0.3))
def test_the_whole_holds_every_part_where_its_times_say(parts, gap):
    whole, times = join(parts, 100, gap)
    assert len(times) == len(parts)
    for part, (start, end) in zip(parts, times, strict=True):
        expected = part if isinstance(part, torch.Tensor) else torch.zeros(round(part * 100))
        assert torch.equal(whole[start:end], expected)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))
    assert whole.sum() == sum(len(part) for part in parts if isinstance(part, torch.Tensor)), (
        "nothing else sounds"
    )


def test_finished_segments_stream_as_they_are_saved(sentence):
    """The way the service goes: finish each, then join, or stream."""
    raw = [sentence[: 2 * RATE] * 3 + 0.1, torch.cat([sentence, noise(1.5, -40)]), NONE, sentence[3 * RATE :]]
    parts = [finish_segment(wave, RATE).wave for wave in raw]
    whole, _ = join([0.5, parts[0], parts[1], 0.1, parts[2], parts[3]], RATE, 0.2)

    joiner = Joiner(RATE, 0.2)
    streamed = torch.cat(
        [
            joiner.add(part if isinstance(part, float) else finish_segment(part, RATE).wave).wave
            for part in (0.5, raw[0], raw[1], 0.1, raw[2], raw[3])
        ]
    )
    assert torch.equal(streamed, whole)
    assert streamed.abs().max() <= 0.99 and len(streamed) < sum(map(len, raw)) + 0.8 * RATE - RATE


def test_joins_do_not_click(sentence):
    """Cut in the middle of loud vowels, with DC: no step at a join is larger than those inside speech."""
    pieces = [
        finish_segment(sentence[start : start + RATE] + 0.2, RATE).wave for start in range(0, 5 * RATE, RATE)
    ]
    whole, times = join(pieces, RATE, 0.2)
    steps = whole.diff().abs()
    inside = float(sentence.diff().abs().max())
    for start, end in times:
        for join_at in (start, end):
            near = steps[max(0, join_at - 3) : join_at + 3]
            assert float(near.max()) < 0.02 * inside
    raw, times = join([sentence[s : s + RATE] + 0.2 for s in range(0, 5 * RATE, RATE)], RATE, 0.2)
    assert float(raw.diff().abs()[times[1][0] - 2 : times[1][0] + 2].max()) > 0.5 * inside, (
        "what is being prevented"
    )
    assert len(silence(0.2)) == times[1][0] - times[0][1]
