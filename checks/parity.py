"""Compare every stage with golden values: `script/parity --golden FILE --tag TAG --size mini|full`.

Weights and inputs are rebuilt by the golden rule (`pipeline.deterministic`); each stage is fed by the
one before it, so the chain is checked along with its parts.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from checks.golden import golden_module, relative, search_options
from checks.heads import ShiftedHead
from pipeline.audio import kaldi_fbank, log_mel, resample
from pipeline.checkpoints import BARE_TENSOR
from pipeline.conditioning.emotion import blend, from_weights
from pipeline.conditioning.semantic import SemanticEncoder
from pipeline.config import ModelConfig, load_config
from pipeline.deterministic import noise, tables, tone
from pipeline.gpt.decode import decode, latent_pass, prepare
from pipeline.gpt.model import UnifiedVoice
from pipeline.precision import PRECISIONS
from pipeline.published import VOCODER, apply_main_config
from pipeline.s2mel.flow import solve
from pipeline.strict import build, read_yaml, to_dict

LIMIT = 2e-5  # relative L2 error of float32 arrays
REFERENCE_CLIP = 24  # mel frames of bigvgan.wave_from_reference_mel
AUDIO_RATE = 24000
ALPHA = 0.6
EMOTION_WEIGHTS = (0.3, 0, 0.1, 0, 0.05, 0, 0.2, 0)
VELOCITY_TIME = 0.3
CFG_RATE = 0.7


@dataclass(frozen=True)
class Size:
    """How the golden values of one size were made."""

    config: str
    seconds: float
    steps: tuple[int, ...]
    stop_bias: float
    semantic_frames: int | None  # features are noise of this length; None: through w2v-bert
    gpt_every: int  # channels kept of GPT and regulator arrays


SIZES = {"mini": Size("mini", 2.0, (4, 25), 2.0, 99, 1), "full": Size("indextts2", 3.0, (10,), 3.0, None, 8)}
EMOTION_FRAMES = 80
FEATURE_EVERY = 16  # channels kept of features and codec embeddings
INPUT_CHANNELS = 4  # of w2v.input_features
LONG_SECONDS, LONG_RATE = 3.5, 16000


@dataclass(frozen=True)
class Line:
    """One compared array."""

    name: str
    value: str
    limit: str
    ok: bool

    def __str__(self) -> str:
        return f"{self.name:<42} {self.value:>14} {self.limit:>10} {'ok' if self.ok else 'OVER'}"


def compare(name: str, ours: Tensor, golden: np.ndarray, limit: float | None = LIMIT) -> Line:
    """Integers must be equal; floats within `limit` in relative L2. Without a limit all is well."""
    line = _compare(name, ours, golden, LIMIT if limit is None else limit)
    return line if limit is not None else Line(line.name, line.value, "", True)


def _compare(name: str, ours: Tensor, golden: np.ndarray, limit: float) -> Line:
    array = ours.detach().cpu().numpy()
    if array.size == golden.size and array.shape != golden.shape:
        array = array.reshape(golden.shape)
    if array.shape != golden.shape:
        return Line(name, f"shape {array.shape}", str(golden.shape), False)
    if golden.dtype.kind in "iu":
        equal = bool((array == golden).all())
        return Line(name, "equal" if equal else f"{int((array != golden).sum())} differ", "equal", equal)
    error = relative(array, golden)
    return Line(name, f"{error:.2e}", f"{limit:.0e}", error <= limit)


def golden_config(size: Size, directory: Path | None) -> ModelConfig:
    """The configuration the values were made with: ours, unless the golden folder brings its own."""
    config = load_config(size.config)
    if directory is not None and (directory / f"{size.config}_config.yaml").is_file():
        values = apply_main_config(
            to_dict(config), read_yaml(directory / f"{size.config}_config.yaml"), "config"
        )
        vocoder = read_yaml(directory / f"{size.config}_bigvgan_config.json")
        values["vocoder"].update({ours: vocoder[theirs] for ours, theirs in VOCODER.items()})
        config = build(ModelConfig, values, size.config)
    return config


def searches(
    gpt: UnifiedVoice, prompt: Tensor, golden: Mapping[str, np.ndarray], size: Size
) -> Iterator[tuple[str, Tensor]]:
    """Every stored search, by the parts of its name."""
    limit = golden["gpt.greedy_codes"].shape[1]
    for prefix, bias in (("gpt", 0.0), ("stop", size.stop_bias)):
        head = gpt.mel_head
        gpt.mel_head = ShiftedHead(head, gpt.config.stop_mel_token, bias)
        for name in golden:
            if not name.startswith(f"{prefix}.") or "_codes" not in name:
                continue
            options = search_options(name, limit)
            decoded = decode(gpt, prompt, options, torch.Generator())
            stop = [gpt.config.stop_mel_token] if decoded.stopped else []
            yield name, torch.cat([decoded.codes, torch.tensor(stop, dtype=torch.long)])[None]
        gpt.mel_head = head


@torch.inference_mode()
def stages(
    golden: Mapping[str, np.ndarray], tag: str, size: Size, config: ModelConfig, precision: str
) -> Iterator[tuple[str, Tensor]]:
    """(name, value) of every golden array, computed by our stages one after another."""
    audio = tone(tag, size.seconds, AUDIO_RATE)
    wave_22k = resample(audio, AUDIO_RATE, config.audio.sample_rate)
    wave_16k = resample(audio, AUDIO_RATE, config.reference.sample_rate)
    mel = log_mel(wave_22k, config.audio)
    bank = kaldi_fbank(wave_16k, config.speaker.sample_rate, config.speaker.mel_bins)
    yield from (
        ("audio.resample_22k", wave_22k),
        ("audio.resample_16k", wave_16k),
        ("audio.mel", mel),
        ("audio.fbank", bank),
    )

    speaker = golden_module(config, precision, "speaker")
    style = speaker(bank)
    yield "campplus.style", style
    yield (
        "campplus.style_long",
        speaker(
            kaldi_fbank(tone(tag + ".long", LONG_SECONDS, LONG_RATE), LONG_RATE, config.speaker.mel_bins)
        ),
    )

    width = config.semantic.hidden_size
    if size.semantic_frames is not None:
        features = noise(tag + ".spk", 1, size.semantic_frames, width)
    else:
        stats = tables(config)["semantic_stats"]
        semantic = SemanticEncoder(
            config.semantic,
            golden_module(config, precision, "semantic"),
            stats["mean"],
            stats["var"],
            config.reference.sample_rate,
        )
        inputs, mask = semantic.input_features(wave_16k[0].numpy())
        features = semantic(wave_16k)
        yield from (
            ("w2v.input_features", inputs[..., :INPUT_CHANNELS]),
            ("w2v.attention_mask", mask),
            ("w2v.features", features[..., ::FEATURE_EVERY]),
        )
        del semantic
        gc.collect()

    codec = golden_module(config, precision, "codec")
    codes, embedding = codec.quantize(features)
    used = torch.from_numpy(golden["gpt.codes_used"]).long()
    embedded = codec.vq2emb(used)
    yield from (
        ("codec.codes", codes),
        ("codec.embedding", embedding[..., ::FEATURE_EVERY]),
        ("codec.vq2emb", embedded[..., ::FEATURE_EVERY]),
    )

    gpt = golden_module(config, precision, "gpt")
    every = size.gpt_every
    latents, base = gpt.speaker_latents(features), gpt.emotion_vector(features)
    emotion = gpt.emotion_vector(noise(tag + ".emo", 1, EMOTION_FRAMES, width))
    merged = blend(base, emotion, ALPHA)
    yield from (
        ("gpt.speaker_latents", latents[..., ::every]),
        ("gpt.emotion_vector", emotion),
        ("gpt.merged_emotion", merged),
    )
    matrices = tables(config)
    yield (
        "emotion.from_weights",
        from_weights(
            EMOTION_WEIGHTS,
            base,
            style,
            matrices["speaker_matrix"][BARE_TENSOR],
            matrices["emotion_matrix"][BARE_TENSOR],
            config.emotion,
        ),
    )
    prompt = gpt.prompt_inputs(latents, merged, torch.from_numpy(golden["gpt.text_ids"]).long())
    yield "gpt.prompt_embeddings", prompt[..., ::every]
    yield "gpt.first_logits", gpt.mel_head(prepare(gpt, prompt, 1, 1, "trained").hidden)
    yield from searches(gpt, prompt, golden, size)
    latent = latent_pass(gpt, prompt, used[0])[None]
    yield "gpt.latent", latent[..., ::every]
    del gpt
    gc.collect()

    regulator = golden_module(config, precision, "s2mel", "length_regulator")
    frames = int(config.s2mel.regulator.frames_per_code * used.shape[1])
    condition = regulator(embedded + golden_module(config, precision, "s2mel", "gpt_layer")(latent), frames)
    prompt_condition = regulator(embedding, mel.shape[-1])
    yield from (
        ("s2mel.target_length", torch.tensor([frames])),
        ("s2mel.condition", condition[..., ::every]),
        ("s2mel.prompt_condition", prompt_condition[..., ::every]),
    )

    dit = golden_module(config, precision, "s2mel", "cfm").estimator
    start = noise(tag + ".z", 1, config.audio.n_mels, mel.shape[-1] + frames)
    conditions = torch.cat([prompt_condition, condition], dim=1)
    prompt_mel = torch.nn.functional.pad(mel, (0, frames))
    yield "s2mel.dit_velocity", dit(start, torch.tensor([VELOCITY_TIME]), prompt_mel, conditions, style)
    target = mel
    for steps in size.steps:
        target = solve(dit, start, mel, conditions, style, steps, CFG_RATE)
        yield f"s2mel.mel_{steps}_steps", target
    vocoder = golden_module(config, precision, "vocoder")
    yield from (
        ("bigvgan.wave", vocoder(target)[:, None]),
        ("bigvgan.wave_from_reference_mel", vocoder(mel[..., :REFERENCE_CLIP])[:, None]),
    )


def run(
    golden_file: Path, tag: str, size_name: str, report: Callable[[Line], None], precision: str = "exact"
) -> bool:
    """Compare everything in `golden_file`; True when nothing is over its limit and nothing is left out. Only `exact`
    has limits."""
    size = SIZES[size_name]
    with np.load(golden_file, allow_pickle=False) as file:
        golden = {name: file[name] for name in file.files}
    left, good = set(golden) - {"gpt.codes_used", "gpt.text_ids"}, True
    for name, value in stages(golden, tag, size, golden_config(size, golden_file.parent), precision):
        if name not in golden:
            continue
        line = compare(name, value, golden[name], LIMIT if precision == "exact" else None)
        report(line)
        good &= line.ok
        left.discard(name)
    for name in sorted(left):
        report(Line(name, "not computed", "", False))
    return good and not left


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/parity", description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True, help="the .npz file of golden values")
    parser.add_argument("--tag", required=True, help="the tag its inputs were made with")
    parser.add_argument("--size", choices=sorted(SIZES), required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="exact")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    if not options.golden.is_file():
        parser.error(f"no such file: {options.golden}")
    good = run(
        options.golden, options.tag, options.size, lambda line: print(line, flush=True), options.precision
    )
    print("all within limits" if good else "NOT within limits")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
