"""How quick a GPU is: a step, a request, many at once, and what memory they take."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from checks.gpu_model import Speaker
from pipeline.gpt.device import DeviceDecoder, decode_together

Figures = dict[str, float]
FIRST_CODES = 25  # of the first piece that is spoken


def seconds(work: Callable[[], object], device: torch.device, runs: int) -> float:
    """The quickest of some runs, the device's work done; on a GPU one before them to warm up and one to record
    graphs."""
    for _ in range(2 if device.type == "cuda" else 0):
        work()
    times = []
    for _ in range(runs):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def single(speaker: Speaker, codes: int, runs: int) -> Figures:
    """Figures of one request: steps in ms, real-time factors, first audio in ms."""
    device, found = speaker.device, {}
    audio = codes * speaker.config.s2mel.regulator.frames_per_code * speaker.config.audio.hop_length
    audio /= speaker.config.audio.sample_rate
    for beams in (1, 3):
        decoder, options = speaker.decoders.decoder(beams, codes), speaker.options(beams, codes)
        took = seconds(
            lambda d=decoder, o=options: decode_together(d, [speaker.prompt], [o], [3]), device, runs
        )
        found[f"GPT step, {beams} beams, ms"] = 1000 * took / codes
    decoded = decode_together(decoder, [speaker.prompt], [options], [3])[0]
    took = seconds(lambda: speaker.mel(decoded.codes, decoded.latents, 10), device, runs)
    found["flow step, ms"] = 100 * took
    mel = speaker.mel(decoded.codes, decoded.latents, 2)
    with torch.inference_mode():
        found["vocoder, ms per s of audio"] = (
            1000 * seconds(lambda: speaker.vocoder(mel), device, runs) / audio
        )
    for beams, steps in ((3, 25), (1, 12)):
        took = seconds(lambda b=beams, s=steps: speaker.speak(b, s, codes), device, runs)
        found[f"real-time factor, {beams} beams, {steps} steps"] = took / audio
    first = min(FIRST_CODES, codes)
    found["first audio, 1 beam, 12 steps, ms"] = 1000 * seconds(
        lambda: speaker.speak(1, 12, first), device, runs
    )
    return found


def many(speaker: Speaker, codes: int, count: int) -> Figures:
    """Seconds of audio per second with `count` sequences decoded at once, then voiced one after another."""
    device = speaker.device
    audio = count * codes * speaker.config.s2mel.regulator.frames_per_code
    audio *= speaker.config.audio.hop_length / speaker.config.audio.sample_rate
    decoder = DeviceDecoder(speaker.gpt, count, 1, codes, speaker.prompt.shape[1])
    options, keys = [speaker.options(1, codes)] * count, list(range(1, 2 * count, 2))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    @torch.inference_mode()
    def work() -> None:
        made = decode_together(decoder, [speaker.prompt] * count, options, keys)
        for decoded in made:
            speaker.vocoder(speaker.mel(decoded.codes, decoded.latents, 12)).float().cpu()

    found = {f"audio-s/s, {count} sequences": audio / seconds(work, device, runs=1)}
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        found[f"peak memory, {count} sequences, GiB"] = peak / (1 << 30)
    return found
