"""What must hold on a GPU, each as a line: values against golden ones and against float32, graphs against eager, no
wait, flat memory, cancel, out of memory, determinism."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from checks.golden import golden_module, relative, search_options
from checks.gpu_model import Speaker
from checks.heads import ShiftedHead
from pipeline import gpu
from pipeline.conditioning.emotion import blend
from pipeline.config import ModelConfig
from pipeline.deterministic import noise
from pipeline.gpt.decode import latent_pass, prepare
from pipeline.gpt.device import CHECK_EVERY, DeviceDecoder, DeviceDecoders, OverflowInGPT, decode_together
from pipeline.gpt.device_batch import DeviceBatch
from pipeline.s2mel.player import FlowPlayer

PASS, FAIL, UNVERIFIED = "PASS", "FAIL", "UNVERIFIED"
# relative L2 error of a stage's floats against golden values made in float32 on a CPU
LIMITS = {"exact": 2e-5, "fast": 3e-2, "smallest": 1e-1}
GRAPH_LIMIT = 1e-5
REQUESTS, WARM_REQUESTS = 30, 5
GROWTH_BYTES = 1 << 20
TAG, EMOTION_FRAMES, ALPHA, STOP_BIAS, CFG_RATE, VELOCITY_TIME = "public", 80, 0.6, 2.0, 0.7, 0.3


@dataclass(frozen=True)
class Line:
    name: str
    status: str
    value: str
    limit: str = ""


def judged(name: str, good: bool, value: str, limit: str = "") -> Line:
    return Line(name, PASS if good else FAIL, value, limit)


@torch.inference_mode()
def golden_stages(
    config: ModelConfig, device: torch.device, precision: str, golden: dict[str, np.ndarray]
) -> Iterator[tuple[str, Tensor]]:
    """(name, value) of the golden arrays of size mini, each stage on the device, fed by the one before it."""

    def module(checkpoint: str, section: str = "") -> torch.nn.Module:
        return golden_module(config, precision, checkpoint, section, device)

    def given(name: str) -> Tensor:
        return torch.from_numpy(golden[name]).to(device)

    width = config.semantic.hidden_size
    features = noise(f"{TAG}.spk", 1, 99, width).to(device)
    style = module("speaker")(given("audio.fbank").reshape(1, -1, config.speaker.mel_bins))
    yield "campplus.style", style
    codec, used = module("codec"), given("gpt.codes_used").long()
    codes, embedding = codec.quantize(features)
    embedded = codec.vq2emb(used)
    yield "codec.codes", codes
    gpt = module("gpt")
    half = gpt.mel_embedding.weight.dtype
    latents, base = gpt.speaker_latents(features.to(half)), gpt.emotion_vector(features.to(half))
    emotion = gpt.emotion_vector(noise(f"{TAG}.emo", 1, EMOTION_FRAMES, width).to(device, half))
    merged = blend(base, emotion, ALPHA)
    yield from (("gpt.speaker_latents", latents), ("gpt.emotion_vector", emotion))
    prompt = gpt.prompt_inputs(latents, merged, given("gpt.text_ids").long())
    yield "gpt.prompt_embeddings", prompt
    yield "gpt.first_logits", gpt.mel_head(prepare(gpt, prompt, 1, 1, "trained").hidden)
    yield from searches(gpt, prompt, golden, config)
    latent = latent_pass(gpt, prompt, used[0])[None]
    yield "gpt.latent", latent
    regulator, projection = module("s2mel", "length_regulator"), module("s2mel", "gpt_layer")
    frames = int(config.s2mel.regulator.frames_per_code * used.shape[1])
    condition = regulator(embedded + projection(latent.float()), frames)
    mel = given("audio.mel").reshape(1, config.audio.n_mels, -1)
    prompt_condition = regulator(embedding, mel.shape[-1])
    yield from (("s2mel.condition", condition), ("s2mel.prompt_condition", prompt_condition))
    dit = module("s2mel", "cfm").estimator
    start = noise(f"{TAG}.z", 1, config.audio.n_mels, mel.shape[-1] + frames).to(device)
    conditions = torch.cat([prompt_condition, condition], dim=1)
    time = torch.full((1,), VELOCITY_TIME, device=device)
    yield "s2mel.dit_velocity", dit(start, time, torch.nn.functional.pad(mel, (0, frames)), conditions, style)
    flow = FlowPlayer(dit, device)
    target = mel
    for steps in (4, 25):
        target = flow.solve(start, mel, conditions, style, steps, CFG_RATE)
        yield f"s2mel.mel_{steps}_steps", target
    yield "bigvgan.wave", module("vocoder")(target)[:, None]


def searches(
    gpt: torch.nn.Module, prompt: Tensor, golden: dict[str, np.ndarray], config: ModelConfig
) -> Iterator[tuple[str, Tensor]]:
    """Codes of every stored search, by the search on the device."""
    limit, head = golden["gpt.greedy_codes"].shape[1], gpt.mel_head
    for name in golden:
        if "_codes" not in name:
            continue
        bias = STOP_BIAS if name.startswith("stop.") else 0.0
        gpt.mel_head = ShiftedHead(head, config.gpt.stop_mel_token, bias)
        options = search_options(name, limit)
        decoded = DeviceDecoders(gpt).decode(prompt, options, torch.Generator())
        stop = decoded.codes.new_full((int(decoded.stopped),), config.gpt.stop_mel_token)
        yield name, torch.cat([decoded.codes, stop])[None]
    gpt.mel_head = head


def parity(config: ModelConfig, device: torch.device, precision: str, file: Path) -> Iterator[Line]:
    """Codes are equal and floats within a limit in `exact`; in the others codes are told."""
    with np.load(file, allow_pickle=False) as stored:
        golden = {name: stored[name] for name in stored.files}
    if device.type == "cuda":
        gpu.allow_tf32(precision != "exact")
    limit = LIMITS[precision]
    for name, value in golden_stages(config, device, precision, golden):
        wanted, label = golden[name], f"parity {precision}: {name}"
        if wanted.dtype.kind in "iu":
            ours = value.cpu().numpy()
            same = ours.shape == wanted.shape and bool((ours == wanted).all())
            told = "equal" if same else "differ"
            strict = precision == "exact"
            yield judged(label, same or not strict, told, "equal" if strict else "told only")
        else:
            every = -(-value.shape[-1] // wanted.shape[-1])
            error = relative(value[..., ::every], wanted)
            yield judged(label, error <= limit, f"{error:.1e}", f"{limit:.0e}")


def graphs(speaker: Speaker, codes: int) -> Iterator[Line]:
    if speaker.device.type != "cuda":
        yield Line("graph against eager", UNVERIFIED, "no GPU")
        return
    eager = speaker.without_graphs()
    for beams in (1, 3):
        runs = [
            s.decoders.decode(speaker.prompt, speaker.options(beams, codes), torch.Generator().manual_seed(3))
            for s in (speaker, speaker, eager)
        ]
        same = all(run.codes.tolist() == runs[-1].codes.tolist() for run in runs)
        error = relative(runs[1].latents, runs[-1].latents)
        name = f"graph against eager: GPT, {beams} beams"
        yield judged(name, same and error <= GRAPH_LIMIT, f"{error:.1e}", f"{GRAPH_LIMIT:.0e}, codes equal")
    decoded = runs[-1]
    played, called = (s.mel(decoded.codes, decoded.latents, 4) for s in (speaker, eager))
    error = relative(played, called)
    yield judged("graph against eager: flow", error <= GRAPH_LIMIT, f"{error:.1e}", f"{GRAPH_LIMIT:.0e}")


def no_wait(speaker: Speaker, codes: int) -> Line:
    """Decoding and the flow's steps under PyTorch's own watch."""
    name = "no wait for the device (set_sync_debug_mode)"
    if speaker.device.type != "cuda":
        return Line(name, UNVERIFIED, "no GPU")
    options = speaker.options(3, codes)
    decoder = speaker.decoders.decoder(3, codes)
    decoded = decode_together(decoder, [speaker.prompt], [options], [3])[0]  # warm
    speaker.mel(decoded.codes, decoded.latents, 3)
    group = decoder.join(speaker.prompt, options, 5)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for _ in range(codes // CHECK_EVERY):
            decoder.run(CHECK_EVERY)
            decoder.finished()
        speaker.mel(decoded.codes, decoded.latents, 3)
    except RuntimeError as e:
        return Line(name, FAIL, " ".join(str(e).split())[:120])
    finally:
        torch.cuda.set_sync_debug_mode("default")
        decoder.leave(group)
    return Line(name, PASS, "none")


def flat_memory(speaker: Speaker, codes: int) -> Line:
    name = f"memory over {REQUESTS} requests"
    if speaker.device.type != "cuda":
        return Line(name, UNVERIFIED, "no GPU")
    held = []
    for request in range(REQUESTS):
        speaker.speak(3 if request % 2 else 1, 4, codes + request % 3, request)
        held.append(torch.cuda.memory_allocated(speaker.device))
    growth = max(held[WARM_REQUESTS:]) - held[WARM_REQUESTS - 1]
    return judged(name, growth <= GROWTH_BYTES, f"grew by {growth} bytes", f"{GROWTH_BYTES}")


class Cancelled(BaseException):
    """As Cog cancels."""


def cancel(speaker: Speaker, codes: int) -> Iterator[Line]:
    def after(step: int) -> None:
        if step >= CHECK_EVERY:
            raise Cancelled

    options, decoder = speaker.options(3, codes), speaker.decoders.decoder(3, codes)
    wanted = decode_together(decoder, [speaker.prompt], [options], [7])[0]
    mel = speaker.mel(wanted.codes, wanted.latents, 3)
    stages: dict[str, tuple[Callable[[], object], Callable[[], bool]]] = {
        "GPT": (
            lambda: decode_together(decoder, [speaker.prompt], [options], [8], after),
            lambda: torch.equal(
                decode_together(decoder, [speaker.prompt], [options], [7])[0].codes, wanted.codes
            ),
        ),
        "flow": (
            lambda: speaker.mel(wanted.codes, wanted.latents, 2 * CHECK_EVERY, after),
            lambda: relative(speaker.mel(wanted.codes, wanted.latents, 3), mel) <= GRAPH_LIMIT,
        ),
    }
    for stage, (cancelled, again) in stages.items():
        try:
            cancelled()
            yield Line(f"cancel in the {stage}", FAIL, "it went on")
        except Cancelled:
            yield judged(f"cancel in the {stage}", again(), "the next result is right", "equal")


def overflow(speaker: Speaker, codes: int) -> Line:
    name = "numbers that overflow are told"
    decoder = DeviceDecoder(speaker.gpt, 2, 1, codes, speaker.prompt.shape[1])
    bad, good = (decoder.join(speaker.prompt, speaker.options(1, codes), key) for key in (3, 5))
    decoder.buffers.rows[:, bad, :1] = torch.nan
    while len(decoder.finished()) < 2:
        decoder.run(CHECK_EVERY)
    decoder.take(good)
    try:
        decoder.take(bad)
    except OverflowInGPT as e:
        return Line(name, PASS, str(e)[:60])
    return Line(name, FAIL, "codes of numbers that are none")


def out_of_memory(speaker: Speaker, codes: int) -> Line:
    """With room for a part of a batch only, by an allocation in the way of the rest."""
    name = "out of memory falls to smaller batches"
    if speaker.device.type != "cuda":
        return Line(name, UNVERIFIED, "no GPU")
    count, options = 8, speaker.options(1, codes)
    batch = DeviceBatch(speaker.gpt, count, 0)
    one = batch.group_bytes(1)
    batch.cache_bytes = count * one
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(speaker.device).total_memory
    room = torch.cuda.memory_reserved(speaker.device) + 3 * one + (64 << 20)
    waiting, most, good = list(range(count)), 0, 0
    try:
        torch.cuda.set_per_process_memory_fraction(room / total, speaker.device)
        while waiting or len(batch):
            while waiting and batch.room(options):
                batch.join(speaker.prompt, options, torch.Generator().manual_seed(waiting.pop()))
            most = max(most, len(batch))
            good += sum(sequence.decoded is not None for sequence in batch.step())
    except torch.OutOfMemoryError as e:
        return Line(name, FAIL, " ".join(str(e).split())[:120])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, speaker.device)
    told = batch.notes(options)
    passed = most < count and good == count and bool(told)
    return judged(name, passed, f"{most} at once; {' '.join(told)}", f"fewer than {count}")


def determinism(speaker: Speaker, codes: int) -> Line:
    waves = [speaker.speak(3, 4, codes, seed=11) for _ in range(3)]
    same = all(torch.equal(wave, waves[0]) for wave in waves)
    other = speaker.speak(3, 4, codes, seed=12)
    differs = not torch.equal(other, waves[0])
    return judged("the same seed, the same bytes", same and differs, f"equal: {same}; other seed: {differs}")
