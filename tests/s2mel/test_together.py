"""Several segments in one batch of the flow and of the vocoder: each as it is alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.s2mel.flow import draw_noise, solve
from pipeline.s2mel.together import MOST_PADDING, FlowRow, batches, padding, solve_together

TOLERANCE = 2e-5
LENGTHS = ((40, 31), (40, 60), (25, 45), (60, 1))  # reference and target frames


@pytest.fixture(scope="module")
def rows(mini_model) -> list[FlowRow]:
    generator, config = torch.Generator().manual_seed(0), mini_model.config.s2mel.dit

    def noise(*shape):
        return torch.randn(1, *shape, generator=generator)

    return [
        FlowRow(
            draw_noise(config.in_channels, reference + target, generator),
            noise(config.in_channels, reference),
            noise(reference + target, config.content_dim),
            noise(config.style_dim)[0][None],
        )
        for reference, target in LENGTHS
    ]


@pytest.mark.parametrize("cfg_rate", [0.7, 0.0])
def test_a_row_of_the_flow_is_as_it_is_alone(mini_model, rows, cfg_rate):
    together = solve_together(mini_model.dit, rows, 4, cfg_rate, -0.5)
    for row, (_, target), mel in zip(rows, LENGTHS, together, strict=True):
        alone = solve(
            mini_model.dit, row.noise, row.reference_mel, row.condition, row.style, 4, cfg_rate, -0.5
        )
        assert mel.shape == (1, 80, target)
        assert (mel - alone).abs().max() <= TOLERANCE * alone.abs().max()


def test_what_is_padded_does_not_matter(mini_model, rows):
    """The same row beside a longer and beside a longest one."""
    short, long, longest = rows[0], rows[2], rows[1]
    one = solve_together(mini_model.dit, [short, long], 2, 0.7)[0]
    other = solve_together(mini_model.dit, [short, longest], 2, 0.7)[0]
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_row_of_the_vocoder_is_as_it_is_alone(mini_model):
    generator, hop = torch.Generator().manual_seed(0), mini_model.config.audio.hop_length
    lengths = [30, 7, 1, 22]
    mels = [torch.randn(1, 80, length, generator=generator) - 3 for length in lengths]
    together = torch.full((len(lengths), 80, max(lengths)), 5.0)  # what is padded is loud
    for row, mel in enumerate(mels):
        together[row, :, : mel.shape[-1]] = mel[0]
    waves = mini_model.vocoder(together, lengths)
    for row, (mel, length) in enumerate(zip(mels, lengths, strict=True)):
        alone = mini_model.vocoder(mel)[0]
        assert (waves[row, : length * hop] - alone).abs().max() <= TOLERANCE


@given(st.lists(st.integers(1, 3000), max_size=64), st.integers(1, 32))
def test_batches_hold_everyone_once_and_little_padding(lengths, most):
    found = batches(lengths, most)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) <= most and padding([lengths[place] for place in batch]) <= MOST_PADDING


def test_the_waste_of_thirty_two_sentences():
    """Lengths of sentences from one word to twenty-five: 0.4 to 9 s."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(34, 775, (32,), generator=generator).tolist()
    found = [[lengths[place] for place in batch] for batch in batches(lengths, 16)]
    whole = sum(max(batch) * len(batch) for batch in found)
    assert 1 - sum(lengths) / whole < 0.15 and len(found) < 16
