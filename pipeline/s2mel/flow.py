"""Flow matching: noise -> mel by Euler steps with classifier-free guidance.

Axes: C mel channels, R reference frames, F target frames, T = R + F.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.s2mel.dit import DiT


def draw_noise(channels: int, frames: int, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Start of the flow: normal [1, C, T] with standard deviation `scale`, on the generator's device."""
    return scale * torch.randn(1, channels, frames, generator=generator, device=generator.device)


def swayed(u: Tensor, sway: float) -> Tensor:
    """Even times u in [0, 1] bent towards the noise (`sway` below 0, −1 at most) or towards the mel (above, 1 at most).

    Sway sampling of F5-TTS (arXiv 2410.06885): u + sway · (cos(π/2 · u) − 1 + u); 0 leaves them even."""
    if not -1 <= sway <= 1:
        raise ValueError(f"time_sway is {sway}; allowed: -1 to 1")
    return u + sway * (torch.cos(math.pi / 2 * u) - 1 + u)


def halves(
    prompt: Tensor, condition: Tensor, style: Tensor, cfg_rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Prompt, condition and style of the conditional rows and, where there is guidance, of as many null ones behind."""
    if cfg_rate == 0:
        return prompt, condition, style
    prompt, condition, style = (torch.cat([x, torch.zeros_like(x)]) for x in (prompt, condition, style))
    return prompt, condition, style


def guided(velocity: Tensor, cfg_rate: float | Tensor) -> Tensor:
    """Velocity of the rows of `halves` with guidance -> of the conditional ones: (1 + rate) · conditional − rate · null."""
    conditional, null = velocity.chunk(2)
    return (1 + cfg_rate) * conditional - cfg_rate * null


@torch.inference_mode()
def solve(
    dit: DiT,
    noise: Tensor,
    reference_mel: Tensor,
    condition: Tensor,
    style: Tensor,
    steps: int,
    cfg_rate: float,
    sway: float = 0.0,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Mel [1, C, F] after the reference.

    noise [1, C, T]; reference_mel [1, C, R]; condition [1, T, content_dim]; style [1, style_dim].
    The velocity is `guided`, null being zero prompt, style and condition;
    cfg_rate 0 evaluates the conditional half alone; `sway` bends the steps' times (`swayed`). `on_step` is called
    before every step and may raise."""
    if steps < 1:
        raise ValueError(f"diffusion_steps is {steps}; allowed: 1 or more")
    reference = reference_mel.shape[-1]
    prompt = F.pad(reference_mel.to(noise), (0, noise.shape[-1] - reference))
    prompt, condition, style = halves(prompt, condition, style, cfg_rate)
    static = dit.prepare(prompt, condition, style, needed=reference)
    times = swayed(torch.linspace(0, 1, steps + 1), sway)
    x = noise.clone()
    x[..., :reference] = 0
    for step in range(steps):
        on_step(step)
        t = times[step].to(x.device, x.dtype).expand(prompt.shape[0])
        velocity = dit.velocity(x.expand(prompt.shape[0], -1, -1), t, static)
        if cfg_rate != 0:
            velocity = guided(velocity, cfg_rate)
        x = x + float(times[step + 1] - times[step]) * velocity
        x[..., :reference] = 0
    return x[..., reference:]
