"""Seconds of each stage in several precisions, in turn, so that what else the machine does falls on all of them alike.

`plain` is float32 by PyTorch's own layers, the flow over all frames and with both rows of guidance in one
batch: what the others are compared with. A stage's modules are loaded in every precision at once, one stage
after another.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from checks.heads import ShiftedHead
from pipeline.checkpoints import LAYOUTS
from pipeline.config import ModelConfig
from pipeline.gpt.decode import decode, prepare
from pipeline.gpt.model import UnifiedVoice
from pipeline.gpt.sampling import SamplingOptions
from pipeline.loading import load_module, read_checkpoint
from pipeline.model import MODULES
from pipeline.precision import apply_precision
from pipeline.precisions import PRECISIONS
from pipeline.s2mel.dit import DiT, Static
from pipeline.s2mel.flow import solve

PLAIN = "plain"
CONTENDERS = (PLAIN, *PRECISIONS)
STAGES = ("gpt", "flow", "vocoder")
TEXT_TOKENS = 40
REFERENCE_SECONDS = 5.0
NEVER = -1e4  # shift of the stop token's logit

Seconds = dict[str, float]  # contender -> seconds
Work = Callable[[], object]
Parts = Callable[[], list[float]]  # the seconds of each part of some work


def load(
    directory: Path,
    config: ModelConfig,
    checkpoint: str,
    section: str = "",
    contenders: tuple[str, ...] = CONTENDERS,
) -> dict[str, nn.Module]:
    """A module in every precision."""
    modules = {}
    for contender in contenders:
        state = read_checkpoint(directory, LAYOUTS[config.layout][checkpoint])[section]
        make = MODULES[checkpoint, section]
        module = load_module(lambda make=make: make(config), state)
        if contender != PLAIN:
            apply_precision(contender, checkpoint, module, mapped=False)
        modules[contender] = module
    return modules


def clock() -> float:
    """Seconds by the wall, or of CPU on one thread: those hardly depend on what else the machine does."""
    return time.perf_counter() if torch.get_num_threads() > 1 else time.thread_time()


def in_turn(works: Mapping[str, Work], runs: int) -> Seconds:
    """The quickest of `runs` of each, taken in turn after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            start = clock()
            work()
            if run:
                times[name].append(clock() - start)
    return {name: min(values) for name, values in times.items()}


def parts_in_turn(works: Mapping[str, Parts], runs: int) -> Seconds:
    """The sum of each part's quickest of `runs`, taken in turn after one that does not count: a part is short enough to
    be left alone by what else the machine does."""
    best: dict[str, list[float]] = {}
    for run in range(runs + 1):
        for name, work in works.items():
            seconds = work()
            if run:
                best[name] = list(map(min, best.get(name, seconds), seconds))
    return {name: sum(seconds) for name, seconds in best.items()}


def prompt_of(gpt: UnifiedVoice) -> Tensor:
    """A prompt [1, P, D] of noise, the same each time."""
    width, generator = gpt.config.model_dim, torch.Generator().manual_seed(0)
    latents = torch.randn(1, gpt.config.speaker_rows, width, generator=generator)
    text = torch.arange(TEXT_TOKENS)[None] % gpt.config.number_text_tokens
    return gpt.prompt_inputs(latents, torch.randn(1, width, generator=generator), text, language=0)


@torch.inference_mode()
def gpt_seconds(models: Mapping[str, UnifiedVoice], beams: int, codes: int, runs: int) -> Seconds:
    """Seconds a code, the prompt's not counted, and the `prompt` itself as "prompt NAME"."""
    options = SamplingOptions(
        do_sample=True,
        temperature=0.8,
        top_k=30,
        top_p=0.8,
        num_beams=beams,
        repetition_penalty=10.0,
        length_penalty=0.0,
        max_codes=codes,
        mel_positions="trained",
    )
    works: dict[str, Parts] = {}
    prompts: dict[str, Work] = {}
    for name, gpt in models.items():
        prompt = prompt_of(gpt)
        works[name] = partial(step_seconds, gpt, prompt, options)
        prompts[f"prompt {name}"] = partial(prepare, gpt, prompt, beams, codes, "trained")
    seconds = parts_in_turn(works, runs)
    return {name: value / codes for name, value in seconds.items()} | in_turn(prompts, runs)


def step_seconds(gpt: UnifiedVoice, prompt: Tensor, options: SamplingOptions) -> list[float]:
    """Seconds of each step of a decode, with its choice of codes."""
    marks: list[float] = []
    decode(gpt, prompt, options, torch.Generator().manual_seed(0), lambda step: marks.append(clock()))
    marks.append(clock())
    return [end - start for start, end in itertools.pairwise(marks)]


class WholeFlow:
    """A DiT that computes every frame, needed or not."""

    def __init__(self, dit: DiT):
        self.dit, self.velocity = dit, dit.velocity

    def prepare(self, prompt: Tensor, condition: Tensor, style: Tensor, needed: int) -> Static:
        return self.dit.prepare(prompt, condition, style)


@torch.inference_mode()
def flow_seconds(directory: Path, config: ModelConfig, frames: int, runs: int) -> Seconds:
    """Seconds of one guided Euler step over a reference and `frames` more."""
    rate, generator = config.audio.sample_rate / config.audio.hop_length, torch.Generator().manual_seed(0)
    reference = int(REFERENCE_SECONDS * rate)

    def noise(*shape: int) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    channels, total = config.audio.n_mels, reference + frames
    given = (
        noise(channels, total),
        noise(channels, reference),
        noise(total, config.s2mel.dit.content_dim),
        torch.randn(1, config.s2mel.dit.style_dim, generator=generator),
    )

    modules = load(directory, config, "s2mel", "cfm", (PLAIN, "exact", "fast"))
    works = {
        name: partial(solve, module.estimator, *given, steps=1, cfg_rate=0.7)
        for name, module in modules.items()
    }
    works[PLAIN] = partial(
        solve, WholeFlow(modules[PLAIN].estimator), *given, steps=1, cfg_rate=0.7, side_by_side=False
    )
    seconds = in_turn(works, runs)
    return seconds | {"smallest": seconds["fast"]}


@torch.inference_mode()
def vocoder_seconds(directory: Path, config: ModelConfig, frames: int, runs: int) -> Seconds:
    """Seconds a second of audio."""
    mel = torch.randn(1, config.audio.n_mels, frames, generator=torch.Generator().manual_seed(0)) - 3
    modules = load(directory, config, "vocoder", contenders=(PLAIN, "exact", "smallest"))
    seconds = in_turn({name: (lambda module=module: module(mel)) for name, module in modules.items()}, runs)
    audio = frames * config.audio.hop_length / config.audio.sample_rate
    return {name: seconds[name if name in seconds else "exact"] / audio for name in CONTENDERS}


def stages(
    directory: Path,
    config: ModelConfig,
    beams: tuple[int, ...],
    codes: int,
    frames: int,
    runs: int,
    which: Collection[str] = STAGES,
) -> dict[str, Seconds]:
    """Seconds by stage: "gpt, N beams" a code, "flow" a step, "vocoder" a second of audio; `which`: of STAGES."""
    found = {}
    if "gpt" in which:
        models = load(directory, config, "gpt")
        for gpt in models.values():
            gpt.mel_head = ShiftedHead(gpt.mel_head, config.gpt.stop_mel_token, NEVER)
        for count in beams:
            found[f"gpt, {count} beam{'s'[: count > 1]}"] = gpt_seconds(models, count, codes, runs)
        del models, gpt
        gc.collect()
    if "flow" in which:
        found["flow"] = flow_seconds(directory, config, frames, runs)
        gc.collect()
    if "vocoder" in which:
        found["vocoder"] = vocoder_seconds(directory, config, frames, runs)
    return found


def code_rate(config: ModelConfig) -> float:
    """Codes a second of audio."""
    return config.audio.sample_rate / config.audio.hop_length / config.s2mel.regulator.frames_per_code


def chain(found: Mapping[str, Seconds], config: ModelConfig, beams: str, steps: int, frames: int) -> Seconds:
    """Seconds of all three stages for a second of audio. The flow's share depends on the reference and the length."""
    audio = frames * config.audio.hop_length / config.audio.sample_rate
    rate = code_rate(config)
    return {
        name: rate * found[beams][name] + steps * found["flow"][name] / audio + found["vocoder"][name]
        for name in CONTENDERS
    }
