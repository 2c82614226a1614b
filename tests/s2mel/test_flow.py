"""The solver on a velocity that is known, and the guidance rule."""

import pytest
import torch

from pipeline.s2mel.dit import Static
from pipeline.s2mel.flow import draw_noise, draw_noise_by_frame, solve, swayed
from pipeline.threads import computing_on


class KnownVelocity:
    """v = rate · x for the conditional half, 0 for the null one: Euler's answer is a power."""

    def __init__(self, rate):
        self.rate, self.batches = rate, []

    def prepare(self, prompt, condition, style, needed):
        self.static = prompt, condition, style
        return Static(merged=condition, table=torch.zeros(0))

    def velocity(self, x, t, static):
        self.batches.append(x.shape[0])
        return self.rate * x * static.merged[:, :1, :1]


def inputs(reference=3, target=5):
    generator = torch.Generator().manual_seed(0)
    return dict(
        noise=draw_noise(80, reference + target, generator),
        reference_mel=torch.ones(1, 80, reference),
        condition=torch.ones(1, reference + target, 4),
        style=torch.ones(1, 6),
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("steps, cfg", [(1, 0.7), (4, 0.7), (10, 0.0)])
def test_euler_steps_and_guidance(steps, cfg, threads):
    given, dit = inputs(), KnownVelocity(-0.5)
    with computing_on(threads):
        mel = solve(dit, steps=steps, cfg_rate=cfg, **given)
        assert torch.get_num_threads() == threads
    expected = given["noise"][..., 3:] * (1 - 0.5 * (1 + cfg) / steps) ** steps
    torch.testing.assert_close(mel, expected)
    rows = ([1, 1] if threads > 1 else [2]) if cfg else [1]
    assert dit.batches == rows * steps


@torch.inference_mode()
def test_rows_of_guidance_side_by_side_are_those_of_one_batch(mini_model, generator):
    config = mini_model.config.s2mel.dit
    given = inputs(30, 40) | dict(
        condition=torch.randn(1, 70, config.content_dim, generator=generator),
        style=torch.randn(1, config.style_dim, generator=generator),
    )
    made = {}
    for threads, side_by_side in ((2, True), (2, False), (1, True)):
        with computing_on(threads):
            made[threads, side_by_side] = solve(
                mini_model.dit, **given, steps=3, cfg_rate=0.7, side_by_side=side_by_side
            )
    torch.testing.assert_close(made[2, True], made[2, False], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(made[2, True], made[1, True], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_fails_in_a_row_is_told_and_leaves_the_threads_as_they_were(threads):
    class Broken(KnownVelocity):
        def velocity(self, x, t, static):
            if not static.merged.any(dim=(1, 2)).all():  # the null row is there
                raise RuntimeError("no such row")
            return super().velocity(x, t, static)

    with computing_on(threads):
        with pytest.raises(RuntimeError, match="no such row"):
            solve(Broken(0.5), steps=2, cfg_rate=0.7, **inputs())
        assert torch.get_num_threads() == threads


class Recorder(KnownVelocity):
    """v = 1 everywhere, and the times it was asked at."""

    def __init__(self):
        super().__init__(0.0)
        self.times = []

    def velocity(self, x, t, static):
        self.times += t.tolist()
        return torch.ones_like(x)


def test_sway_moves_the_steps_and_not_their_ends():
    early, given = Recorder(), inputs()
    mel = solve(early, steps=4, cfg_rate=0.0, sway=-1.0, **given)
    # F5-TTS with s = -1: 1 - cos(pi / 2 * u)
    assert early.times == pytest.approx([0.0, 0.0761205, 0.2928932, 0.6173166], abs=1e-6)
    torch.testing.assert_close(mel, given["noise"][..., 3:] + 1)
    even = Recorder()
    solve(even, steps=4, cfg_rate=0.0, **given)
    assert even.times == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("sway", [-1.0, -0.3, 0.0, 1.0])
def test_swayed_times_never_go_back(sway):
    times = swayed(torch.linspace(0, 1, 101), sway)
    assert (times.diff() > 0).all() and times[0] == 0 and times[-1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("sway", [-1.1, 1.1, float("nan")])
def test_sway_that_would_go_back_is_an_error(sway):
    with pytest.raises(ValueError, match="time_sway is .*; allowed: -1 to 1"):
        swayed(torch.linspace(0, 1, 3), sway)


def test_noise_is_scaled():
    noise, smaller = (draw_noise(80, 50, torch.Generator().manual_seed(3), scale) for scale in (1.0, 0.5))
    assert torch.equal(smaller, 0.5 * noise) and noise.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("channels", [1, 7, 80])
def test_noise_by_frame_is_the_same_in_parts(channels):
    parts, whole = (torch.Generator().manual_seed(3) for _ in range(2))
    drawn = [draw_noise_by_frame(channels, frames, parts, 0.7) for frames in (1, 0, 16, 33)]
    noise = draw_noise_by_frame(channels, 50, whole, 0.7)
    assert noise.shape == (1, channels, 50) and torch.equal(torch.cat(drawn, dim=-1), noise)


def test_noise_by_frame_is_normal():
    noise = draw_noise_by_frame(80, 400, torch.Generator().manual_seed(3), 0.5)
    assert noise.std() == pytest.approx(0.5, rel=0.02) and noise.mean().abs() < 0.01
    neighbours = torch.corrcoef(torch.stack([noise[..., 1:].flatten(), noise[..., :-1].flatten()]))
    assert neighbours[0, 1].abs() < 0.03


def test_null_half_has_no_prompt_style_or_condition():
    dit = KnownVelocity(0.0)
    solve(dit, steps=1, cfg_rate=0.7, **inputs())
    for part in dit.static:
        assert part[0].abs().sum() > 0 and part[1].abs().sum() == 0


def test_prompt_is_the_reference_mel_and_silent_after_it():
    dit = KnownVelocity(0.0)
    solve(dit, steps=1, cfg_rate=0.0, **inputs())
    prompt = dit.static[0]
    assert (prompt[..., :3] == 1).all() and (prompt[..., 3:] == 0).all()


def test_input_noise_is_left_alone():
    given = inputs()
    before = given["noise"].clone()
    solve(KnownVelocity(1.0), steps=2, cfg_rate=0.7, **given)
    assert torch.equal(given["noise"], before)


def test_no_steps_is_an_error():
    with pytest.raises(ValueError, match="diffusion_steps is 0; allowed: 1 or more"):
        solve(KnownVelocity(0.0), steps=0, cfg_rate=0.7, **inputs())


def test_real_velocity_depends_on_everything(mini_model, generator):
    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    content = mini_model.config.s2mel.dit.content_dim
    base = dict(
        x=noise(1, 80, 12),
        t=torch.tensor([0.4]),
        prompt=noise(1, 80, 12),
        condition=noise(1, 12, content),
        style=noise(1, 192),
    )
    v = mini_model.dit(**base)
    for name, value in base.items():
        other = torch.tensor([0.6]) if name == "t" else value + 0.5
        assert (mini_model.dit(**(base | {name: other})) - v).abs().max() > 1e-4, name


@pytest.mark.parametrize("needed", [0, 1, 5, 30, 39])
@torch.inference_mode()
def test_frames_before_those_needed_save_work_and_change_nothing(mini_model, generator, needed):
    dit, frames = mini_model.dit, 40
    prompt, x = (torch.randn(2, 80, frames, generator=generator) for _ in range(2))
    condition = torch.randn(2, frames, mini_model.config.s2mel.dit.content_dim, generator=generator)
    style, t = torch.randn(2, 192, generator=generator), torch.tensor([0.3, 0.3])
    whole = dit.velocity(x, t, dit.prepare(prompt, condition, style))
    static = dit.prepare(prompt, condition, style, needed)
    assert static.first == max(0, needed - dit.wavenet.reach)
    part = dit.velocity(x, t, static)
    assert part.shape == whole.shape
    torch.testing.assert_close(part[..., needed:], whole[..., needed:], rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_output_network_reaches_as_far_as_it_says(mini_model, generator):
    wavenet, config = mini_model.dit.wavenet, mini_model.config.s2mel
    x = torch.randn(1, config.wavenet.hidden_dim, 64, generator=generator)
    g = torch.randn(1, config.dit.hidden_dim, generator=generator)
    other = x.clone()
    other[..., 20] += 1
    changed = (wavenet(other, g) - wavenet(x, g)).abs().amax(1)[0].nonzero().flatten()
    assert changed.min() >= 20 - wavenet.reach and changed.max() <= 20 + wavenet.reach
    assert changed.max() - changed.min() > wavenet.reach
