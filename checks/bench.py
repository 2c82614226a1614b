"""Seconds per stage on fixed work: `script/bench [--size mini|full] [--model NAME]`.

A given number of codes is forced, so that two runs do the same work whatever the weights. The machine's
read bandwidth and matmul rate, measured in the same run, are the floor to compare with: the GPT must
read its weights once per step, so `weights read` over `memory read` is how close a step is to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from pipeline.config import load_config
from pipeline.deterministic import tone, write_model
from pipeline.gpt.decode import decode, prepare
from pipeline.gpt.sampling import SamplingOptions
from pipeline.model import Model, load_model
from pipeline.s2mel.flow import solve
from pipeline.voice import make_voice
from service.catalog import Source, locate

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"mini": "mini", "full": "indextts2"}
REFERENCE_SECONDS, REFERENCE_RATE = 5.0, 24000
TEXT_TOKENS = 40
READ_BYTES = 1 << 30
MATMUL_SIZE = 2048


@contextlib.contextmanager
def source_of(size: str | None, model: str | None) -> Iterator[Source]:
    """The model to measure: one by name or directory, or deterministic weights of a size, written by
    another process so that this one's peak memory is the model's."""
    if model:
        with locate(model) as source:
            yield source
        return
    with tempfile.TemporaryDirectory(prefix="indextts-bench-") as folder:
        subprocess.run(
            [sys.executable, "-m", "checks.bench", "--write", folder, "--size", size], check=True, cwd=ROOT
        )
        yield Source(load_config(SIZES[size]), Path(folder))


def median_seconds(work: Callable[[], object], runs: int, device: torch.device) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine(device: torch.device, runs: int) -> dict[str, float]:
    """Memory read bandwidth in GB/s and float32 matmul rate in GFLOP/s."""
    block = torch.ones(READ_BYTES // 4, device=device)
    a = torch.ones(MATMUL_SIZE, MATMUL_SIZE, device=device)
    a @ a
    return {
        "memory read GB/s": READ_BYTES / 1e9 / median_seconds(block.sum, runs, device),
        "matmul float32 GFLOP/s": 2 * MATMUL_SIZE**3 / 1e9 / median_seconds(lambda: a @ a, runs, device),
    }


def decode_weight_bytes(model: Model) -> int:
    """Bytes of weights one decode step must read."""
    gpt = model.gpt
    return sum(p.nbytes for part in (gpt.gpt, gpt.final_norm, gpt.mel_head) for p in part.parameters())


@torch.inference_mode()
def measure(
    model: Model, codes: int, beams: list[int], steps: int, frames: int, runs: int
) -> dict[str, float]:
    config, device = model.config, model.device
    clip = tone("bench", REFERENCE_SECONDS, REFERENCE_RATE)
    results = {"voice s": median_seconds(lambda: make_voice(model, clip, REFERENCE_RATE), runs, device)}
    voice = make_voice(model, clip, REFERENCE_RATE)
    gpt, dtype = model.gpt, next(model.gpt.parameters()).dtype
    text = torch.arange(TEXT_TOKENS, device=device)[None] % config.gpt.number_text_tokens
    prompt = gpt.prompt_inputs(voice.speaker_latents.to(dtype), voice.emotion_vector.to(dtype), text)
    gpt.mel_head.bias[config.gpt.stop_mel_token] = -torch.inf
    prefill = median_seconds(lambda: prepare(gpt, prompt, 1, 1, "trained"), runs, device)
    results["gpt prompt s"] = prefill
    codes = min(codes, config.gpt.max_mel_tokens)
    for count in beams:
        options = SamplingOptions(
            do_sample=True,
            temperature=0.8,
            top_k=30,
            top_p=0.8,
            num_beams=count,
            repetition_penalty=10.0,
            length_penalty=0.0,
            max_codes=codes,
            mel_positions="trained",
        )
        seconds = median_seconds(
            lambda: decode(gpt, prompt, options, torch.Generator().manual_seed(0)), runs, device
        )
        results[f"gpt decode, {count} beam{'s'[: count > 1]}: codes/s"] = codes / (seconds - prefill)
        results[f"gpt decode, {count} beam{'s'[: count > 1]}: weights read GB/s"] = (
            decode_weight_bytes(model) * codes / (seconds - prefill) / 1e9
        )
    total = voice.reference_mel.shape[-1] + frames
    noise = torch.randn(1, config.audio.n_mels, total, device=device)
    condition = torch.cat(
        [voice.prompt_condition, voice.prompt_condition.mean(1, keepdim=True).expand(-1, frames, -1)], 1
    )

    def flow():
        return solve(
            model.dit, noise, voice.reference_mel, condition, voice.style, steps, config.synthesis.cfg_rate
        )

    results["s2mel s per Euler step"] = median_seconds(flow, runs, device) / steps
    mel = flow()
    seconds = frames * config.audio.hop_length / config.audio.sample_rate
    results["vocoder real-time factor"] = median_seconds(lambda: model.vocoder(mel), runs, device) / seconds
    code_rate = config.audio.sample_rate / config.audio.hop_length / config.s2mel.regulator.frames_per_code
    results["chain real-time factor (last beams)"] = (
        code_rate / results[[key for key in results if key.endswith("codes/s")][-1]]
        + results["s2mel s per Euler step"] * config.synthesis.diffusion_steps / seconds
        + results["vocoder real-time factor"]
    )
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", choices=sorted(SIZES), default="mini", help="deterministic weights of this size"
    )
    parser.add_argument("--model", help="measure this model (a name in configs/ or a directory) instead")
    parser.add_argument("--codes", type=int, default=100, help="codes forced per decode")
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--steps", type=int, default=4, help="Euler steps per run")
    parser.add_argument("--frames", type=int, default=172, help="mel frames made")
    parser.add_argument("--runs", type=int, default=3, help="the median of this many is printed")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        write_model(options.write, load_config(SIZES[options.size]), ROOT / "models/mini/bpe.model")
        return 0
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with source_of(options.size, options.model) as source:
        start = time.perf_counter()
        model = load_model(source.directory, source.config, device)
        figures = {"load s": time.perf_counter() - start}
        figures["memory after load MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures |= measure(model, options.codes, options.beams, options.steps, options.frames, options.runs)
    figures["peak memory MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device.type == "cuda":
        figures["peak device memory MB"] = torch.cuda.max_memory_allocated() / 2**20
    figures |= machine(device, options.runs)
    about = {
        "model": source.config.name,
        "device": torch.cuda.get_device_name()
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "codes": options.codes,
        "steps": options.steps,
        "frames": options.frames,
        "runs": options.runs,
    }
    print("  ".join(f"{key}={value}" for key, value in about.items()))
    for name, value in figures.items():
        print(f"{name:<45} {value:>12.4g}")
    if options.json:
        options.json.write_text(json.dumps({"about": about, "figures": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
