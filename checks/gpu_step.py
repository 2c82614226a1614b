"""Where a GPT step's time goes: with each kind of kernels, in the search, in which kernels. And what the
activation with gradients, for training, takes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from checks.gpu_model import Speaker
from checks.gpu_proofs import UNVERIFIED, Line, judged
from pipeline.gpt.search import cycle
from pipeline.gpt.step_choice import SLOTS, TOLERANCE, choice_for, played
from training import fused

PROFILED_STEPS, TOP_KERNELS, NAME_LENGTH = 50, 12, 44


def kinds(speaker: Speaker) -> Iterator[Line]:
    """What was chosen, each kind's time, and its distance from PyTorch's values."""
    weights = speaker.decoders.decoder(1, 1).weights
    choice = choice_for(speaker.gpt, weights)
    if choice is None:
        yield Line("GPT step's kernels", UNVERIFIED, "PyTorch's; no GPU, no Triton or no half precision")
        return
    yield judged("GPT step's kernels", True, choice.name)
    limit = TOLERANCE * torch.finfo(weights.tokens.dtype).eps
    for name, times in choice.times.items():
        for beams, time in zip(SLOTS, times, strict=True):
            yield judged(f"GPT step by {name}, {beams} beams, ms, no search", True, f"{time:.3f}")
    for name, error in choice.errors.items():
        yield judged(f"GPT step by {name} against PyTorch's", error <= limit, f"{error:.1e}", f"{limit:.0e}")
    for name, reason in choice.reasons.items():
        yield Line(f"GPT step by {name}", UNVERIFIED, reason)


def search(speaker: Speaker, codes: int) -> Iterator[Line]:
    """What choosing a code takes, without the step that feeds it."""
    if speaker.device.type != "cuda":
        yield Line("figure: of which search", UNVERIFIED, "no GPU")
        return
    for beams in SLOTS:
        decoder = speaker.decoders.decoder(beams, codes)
        group = decoder.join(speaker.prompt, speaker.options(beams, codes), 3)
        buffers, state, width = decoder.buffers.first(1), decoder.state.first(1), decoder.width()
        common = (buffers, state, decoder.reach(), width)
        try:
            with torch.inference_mode():
                took = played(partial(cycle, decoder.weights, lambda buffers, reach: None, *common))
        finally:
            decoder.leave(group)
        yield judged(f"figure: GPT step, {beams} beams, of which search, ms", True, f"{took:.3f}")


def kernels(speaker: Speaker, codes: int) -> Iterator[Line]:
    """The kernels that take most of a step with three beams, by PyTorch's profiler."""
    if speaker.device.type != "cuda":
        yield Line("kernels of a GPT step", UNVERIFIED, "no GPU")
        return
    steps = min(PROFILED_STEPS, codes)
    decoder = speaker.decoders.decoder(3, codes)
    group = decoder.join(speaker.prompt, speaker.options(3, codes), 3)
    try:
        decoder.run(2)  # graphs are there
        torch.cuda.synchronize(speaker.device)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            decoder.run(steps)
            torch.cuda.synchronize(speaker.device)
    except RuntimeError as e:
        yield Line("kernels of a GPT step", UNVERIFIED, " ".join(str(e).split())[:120])
        return
    finally:
        decoder.leave(group)
    found = sorted(profile.key_averages(), key=lambda e: e.self_device_time_total, reverse=True)
    whole = sum(event.self_device_time_total for event in found) / steps
    yield judged("kernels of a GPT step, 3 beams, all, us", whole > 0, f"{whole:.0f}")
    for event in found[:TOP_KERNELS]:
        value = f"{event.self_device_time_total / steps:.1f} in {event.count / steps:.1f} calls"
        yield judged(f"us of a step: {' '.join(event.key.split())[:NAME_LENGTH]}", True, value)


def training(device: torch.device) -> Line:
    """The vocoder's activation there and back by one kernel each way, against PyTorch's."""
    name = "activation with gradients, for training"
    if device.type != "cuda":
        return Line(name, UNVERIFIED, "no GPU")
    activation = fused.on_gpu(device)
    if activation is None:
        return Line(name, UNVERIFIED, "PyTorch's; the log says why")
    ours, plain = (fused.milliseconds(work, device) for work in (activation, None))
    error = fused.disagreement(activation, device)
    return judged(
        name, error <= fused.TOLERANCE, f"{ours:.2f} ms, PyTorch's {plain:.2f} ms; off by {error:.1e}"
    )
