"""The flow from static buffers, its step called rather than played: the mels of `solve`, length after length."""

import pytest
import torch

from pipeline.s2mel.flow import solve
from pipeline.s2mel.player import MAX_LENGTHS, MAX_STEPS, FlowPlayer

CPU = torch.device("cpu")


@pytest.fixture
def sentence(mini_model):
    """(noise, reference mel, condition, style) of so many reference and target frames."""

    def make(reference, target, seed=0):
        generator = torch.Generator().manual_seed(seed)
        config = mini_model.config
        frames = reference + target
        return (
            torch.randn(1, config.audio.n_mels, frames, generator=generator),
            torch.randn(1, config.audio.n_mels, reference, generator=generator) - 3,
            torch.randn(1, frames, config.s2mel.dit.content_dim, generator=generator),
            torch.randn(1, config.s2mel.dit.style_dim, generator=generator),
        )

    return make


def test_mels_are_those_of_the_plain_solver(mini_model, sentence):
    player = FlowPlayer(mini_model.dit, CPU)
    asked = [
        (sentence(12, 20), 4, 0.7, 0.0),
        (sentence(12, 20, seed=1), 9, 0.7, -0.6),  # the same length again
        (sentence(5, 31), 3, 0.0, 0.0),
        (sentence(20, 12), 4, 0.3, 0.0),  # the same length, another reference
        (sentence(5, 31, seed=2), 1, 0.0, 0.0),
    ]
    for tensors, steps, rate, sway in asked:
        told: list[int] = []
        ours = player.solve(*tensors, steps, rate, sway, told.append)
        torch.testing.assert_close(
            ours, solve(mini_model.dit, *tensors, steps, rate, sway), rtol=2e-5, atol=2e-5
        )
        assert told == list(range(steps))
    assert len(player.states) == 2


def test_a_result_is_not_overwritten_by_the_next(mini_model, sentence):
    player = FlowPlayer(mini_model.dit, CPU)
    first = player.solve(*sentence(6, 10), 2, 0.7)
    kept = first.clone()
    player.solve(*sentence(6, 10, seed=3), 2, 0.7)
    assert torch.equal(first, kept)


def test_lengths_that_are_kept_are_bounded(mini_model, sentence):
    player = FlowPlayer(mini_model.dit, CPU)
    for target in range(1, MAX_LENGTHS + 4):
        player.solve(*sentence(4, target), 1, 0.0)
    assert len(player.states) == MAX_LENGTHS
    player.clear()
    assert not player.states


def test_steps_have_limits(mini_model, sentence):
    for steps in (0, MAX_STEPS + 1):
        with pytest.raises(ValueError, match=f"diffusion_steps is {steps}; allowed: 1 to"):
            FlowPlayer(mini_model.dit, CPU).solve(*sentence(4, 4), steps, 0.7)


def test_a_cancel_leaves_the_player_as_it_was(mini_model, sentence):
    class Cancelled(BaseException):
        pass

    def cancel(step):
        if step == 2:
            raise Cancelled

    player, tensors = FlowPlayer(mini_model.dit, CPU), sentence(6, 10)
    with pytest.raises(Cancelled):
        player.solve(*tensors, 4, 0.7, 0.0, cancel)
    wanted = solve(mini_model.dit, *tensors, 4, 0.7)
    torch.testing.assert_close(player.solve(*tensors, 4, 0.7), wanted, rtol=2e-5, atol=2e-5)
