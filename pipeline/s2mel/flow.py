"""Flow matching: noise -> mel by Euler steps with classifier-free guidance.

Axes: C mel channels, R reference frames, F target frames, T = R + F.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.s2mel.dit import DiT, Static
from pipeline.threads import compute_on, computing_on

Velocity = Callable[[Tensor, Tensor], Tensor]  # mel [1, C, T], time [] -> [B, C, T]


def draw_noise(channels: int, frames: int, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Start of the flow: normal [1, C, T] with standard deviation `scale`, on the generator's device."""
    return scale * torch.randn(1, channels, frames, generator=generator, device=generator.device)


def draw_noise_by_frame(channels: int, frames: int, generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """As `draw_noise`, one frame after the other: drawn in parts, the parts are those of the whole."""
    drawn = [torch.randn(channels, generator=generator, device=generator.device) for _ in range(frames)]
    return scale * torch.stack(drawn, dim=-1)[None] if drawn else torch.zeros(1, channels, 0)


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
    """Velocity of the rows of `halves` with guidance -> of the conditional ones: (1 + rate) · conditional −
    rate · null."""
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
    side_by_side: bool = True,
) -> Tensor:
    """Mel [1, C, F] after the reference.

    noise [1, C, T]; reference_mel [1, C, R]; condition [1, T, content_dim]; style [1, style_dim].
    The velocity is `guided`, null being zero prompt, style and condition;
    cfg_rate 0 evaluates the conditional half alone; `sway` bends the steps' times (`swayed`). `on_step` is called
    before every step and may raise. `side_by_side`: the rows of guidance, where there are cores for both."""
    if steps < 1:
        raise ValueError(f"diffusion_steps is {steps}; allowed: 1 or more")
    reference = reference_mel.shape[-1]
    prompt = F.pad(reference_mel.to(noise), (0, noise.shape[-1] - reference))
    prompt, condition, style = halves(prompt, condition, style, cfg_rate)
    static = dit.prepare(prompt, condition, style, needed=reference)
    times = swayed(torch.linspace(0, 1, steps + 1), sway)
    x = noise.clone()
    x[..., :reference] = 0
    rows = len(prompt)
    threads = torch.get_num_threads() if side_by_side and noise.device.type == "cpu" else 1
    with velocities(dit, static, rows, threads) as velocity_at:
        for step in range(steps):
            on_step(step)
            velocity = velocity_at(x, times[step].to(x))
            if cfg_rate != 0:
                velocity = guided(velocity, cfg_rate)
            x = x + float(times[step + 1] - times[step]) * velocity
            x[..., :reference] = 0
    return x[..., reference:]


@contextmanager
def velocities(dit: DiT, static: Static, rows: int, threads: int) -> Iterator[Velocity]:
    """What gives the velocities [rows, C, T] of a mel [1, C, T] at a time.

    On several threads the two rows of guidance are computed side by side, each on half of them: no operation
    has to wait for its other half, which takes longer than many of a small model's operations."""
    if rows != 2 or threads < 2:
        yield lambda x, t: dit.velocity(x.expand(rows, -1, -1), t.expand(rows), static)
        return
    first, second = (replace(static, merged=row) for row in static.merged.split(1))

    @torch.inference_mode()
    def null(x: Tensor, t: Tensor) -> Tensor:
        return dit.velocity(x, t.expand(1), second)

    def both(x: Tensor, t: Tensor) -> Tensor:
        beside = other.submit(null, x, t)
        conditional = dit.velocity(x, t.expand(1), first)
        return torch.cat([conditional, beside.result()])

    half = threads // 2
    with ThreadPoolExecutor(1, "flow", compute_on, (half,)) as other, computing_on(threads - half):
        yield both
