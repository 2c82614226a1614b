"""Every stage on deterministic weights and inputs, each fed by the one before it, under the names of the golden arrays.

What IndexTTS-2 and IndexTTS-2.5 compute alike is one function here; codec, prompt and condition are one of each.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from checks.golden import golden_module, search_options
from checks.heads import ShiftedHead
from pipeline.audio import kaldi_fbank, log_mel, resample
from pipeline.checkpoints import BARE_TENSOR
from pipeline.conditioning.emotion import blend, from_weights
from pipeline.conditioning.semantic import SemanticEncoder
from pipeline.config import ModelConfig
from pipeline.deterministic import noise, tables, tone
from pipeline.gpt.decode import decode, latent_pass, prepare
from pipeline.gpt.model import UnifiedVoice
from pipeline.s2mel.dit import DiT
from pipeline.s2mel.flow import solve
from pipeline.s2mel.regulator import target_frames
from pipeline.text.multilingual import LANGUAGE_ROWS, kept_ids

REFERENCE_CLIP = 24  # mel frames of bigvgan.wave_from_reference_mel
AUDIO_RATE = 24000
ALPHA = 0.6
EMOTION_WEIGHTS = (0.3, 0, 0.1, 0, 0.05, 0, 0.2, 0)
VELOCITY_TIME = 0.3
CFG_RATE = 0.7
EMOTION_FRAMES = 80
FEATURE_EVERY = 16  # channels kept of features and codec embeddings
INPUT_CHANNELS = 4  # of w2v.input_features
LONG_SECONDS, LONG_RATE = 3.5, 16000
DURATION_FACTORS = (1.0, 1.3, 0.7)
FEW_STEPS = 4  # of the mels with other duration factors

Golden = Mapping[str, np.ndarray]
Values = Iterator[tuple[str, Tensor]]


@dataclass(frozen=True)
class Size:
    """How the golden values of one size were made. `stop_bias` is for those that do not hold their own."""

    config: str
    seconds: float
    steps: tuple[int, ...]
    stop_bias: float
    stop_limit: int | None  # codes of the searches that are to end by themselves; None: as of the others
    semantic_frames: int | None  # features are noise of this length; None: through w2v-bert
    gpt_every: int  # channels kept of GPT and regulator arrays


SIZES = {
    "mini": Size("mini", 2.0, (4, 25), 2.0, None, 99, 1),
    "full": Size("indextts2", 3.0, (10,), 3.0, None, None, 8),
    "mini25": Size("mini25", 2.0, (4, 25), 2.0, 40, 99, 1),
    "full25": Size("indextts2.5", 3.0, (4, 25), 3.0, 64, None, 8),
}


@dataclass(frozen=True)
class Chain:
    """What all stages share."""

    golden: Golden
    tag: str
    size: Size
    config: ModelConfig
    precision: str

    def make(self, checkpoint: str, section: str = "") -> nn.Module:
        """A module with deterministic weights, through the loader."""
        return golden_module(self.config, self.precision, checkpoint, section)

    def codes(self, name: str) -> Tensor:
        return torch.from_numpy(self.golden[name]).long()


@dataclass(frozen=True)
class Heard:
    """What is taken of the tone: mel [1, C, R], style [1, S], semantic features [1, T, D]."""

    mel: Tensor
    style: Tensor
    features: Tensor


def searches(gpt: UnifiedVoice, prompts: Mapping[str, Tensor], chain: Chain) -> Values:
    """Every stored search, by the parts of its name; of several prompts, the one whose language it ends in, or else
    the first."""
    limit = chain.golden["gpt.greedy_codes"].shape[1]
    head, stop = gpt.mel_head, gpt.config.stop_mel_token
    for name in chain.golden:
        prefix, _, rest = name.partition(".")
        if prefix not in ("gpt", "stop") or not rest.startswith(("greedy_codes", "beam3_codes")):
            continue
        bias = 0.0
        if prefix == "stop":
            key = "stop.beam_bias" if "beam3" in name else "stop.bias"
            bias = float(chain.golden[key].item()) if key in chain.golden else chain.size.stop_bias
        prompt = prompts.get(name.rpartition("_")[2], next(iter(prompts.values())))
        most = chain.size.stop_limit if prefix == "stop" and chain.size.stop_limit else limit
        gpt.mel_head = ShiftedHead(head, stop, bias)
        decoded = decode(gpt, prompt, search_options(name, most), torch.Generator())
        ended = [stop] if decoded.stopped else []
        yield name, torch.cat([decoded.codes, torch.tensor(ended, dtype=torch.long)])[None]
    gpt.mel_head = head


def front_end(chain: Chain) -> Iterator[tuple[str, Tensor] | Heard]:
    """The tone through the front end, speaker encoder and w2v-bert; last, what the other stages need of it."""
    tag, config, size = chain.tag, chain.config, chain.size
    audio = tone(tag, size.seconds, AUDIO_RATE)
    wave_22k = resample(audio, AUDIO_RATE, config.audio.sample_rate)
    wave_16k = resample(audio, AUDIO_RATE, config.reference.sample_rate)
    mel = log_mel(wave_22k, config.audio)
    bank = kaldi_fbank(wave_16k, config.speaker.sample_rate, config.speaker.mel_bins)
    long = tone(tag + ".long", LONG_SECONDS, LONG_RATE)
    speaker = chain.make("speaker")
    style = speaker(bank)
    yield from (
        ("audio.resample_22k", wave_22k),
        ("audio.resample_16k", wave_16k),
        ("audio.mel", mel),
        ("audio.fbank", bank),
        ("campplus.style", style),
        ("campplus.style_long", speaker(kaldi_fbank(long, LONG_RATE, config.speaker.mel_bins))),
    )
    if size.semantic_frames is not None:
        yield Heard(mel, style, noise(tag + ".spk", 1, size.semantic_frames, config.semantic.hidden_size))
        return
    stats = tables(config)["semantic_stats"]
    semantic = SemanticEncoder(
        config.semantic, chain.make("semantic"), stats["mean"], stats["var"], config.reference.sample_rate
    )
    inputs, mask = semantic.input_features(wave_16k[0].numpy())
    features = semantic(wave_16k)
    yield from (
        ("w2v.input_features", inputs[..., :INPUT_CHANNELS]),
        ("w2v.attention_mask", mask),
        ("w2v.features", features[..., ::FEATURE_EVERY]),
    )
    yield Heard(mel, style, features)


def codec_20(chain: Chain, heard: Heard) -> Values:
    codec, used = chain.make("codec"), chain.codes("gpt.codes_used")
    codes, embedding = codec.quantize(heard.features)
    yield from (
        ("codec.codes", codes),
        ("codec.embedding", embedding[..., ::FEATURE_EVERY]),
        ("codec.vq2emb", codec.vq2emb(used)[..., ::FEATURE_EVERY]),
        ("content of the reference", embedding),
        ("content of the codes", codec.decode(used)),
    )


def codec_25(chain: Chain, heard: Heard) -> Values:
    codec, used = chain.make("codec"), chain.codes("gpt.codes_used")
    frames = heard.features.shape[1]
    even = heard.features[:, : frames - frames % 2]
    for name, features in (("even", even), ("odd", heard.features)):
        codes, embedding = codec.quantize(features)
        yield f"codec.codes_{name}", codes
        yield f"codec.embedding_{name}", embedding[..., ::FEATURE_EVERY]
    decoded = codec.decode(used)
    reconstruction = codec.decode(chain.codes("codec.codes_even"))
    yield from (
        ("codec.encoded_even", codec.encoded(even)[..., ::FEATURE_EVERY]),
        ("codec.reconstruction", reconstruction[..., ::FEATURE_EVERY]),
        ("codec.vq2emb", codec.vq2emb(used)[..., ::FEATURE_EVERY]),
        ("codec.decoded", decoded[..., ::FEATURE_EVERY]),
        ("content of the reference", heard.features),
        ("content of the codes", decoded),
    )


def emotions(gpt: UnifiedVoice, chain: Chain, heard: Heard) -> Iterator[tuple[str, Tensor]]:
    """Emotion vectors whole; the golden arrays keep what channels they keep."""
    base = gpt.emotion_vector(heard.features)
    emotion = gpt.emotion_vector(noise(chain.tag + ".emo", 1, EMOTION_FRAMES, heard.features.shape[-1]))
    matrices = tables(chain.config)
    mixed = from_weights(
        EMOTION_WEIGHTS,
        base,
        heard.style,
        matrices["speaker_matrix"][BARE_TENSOR],
        matrices["emotion_matrix"][BARE_TENSOR],
        chain.config.emotion,
    )
    yield from (
        ("gpt.base_emotion_vector", base),
        ("gpt.emotion_vector", emotion),
        ("gpt.merged_emotion", blend(base, emotion, ALPHA)),
        ("emotion.from_weights", mixed),
    )


def gpt_20(chain: Chain, heard: Heard) -> Values:
    gpt, every = chain.make("gpt"), chain.size.gpt_every
    feelings = dict(emotions(gpt, chain, heard))
    latents = gpt.speaker_latents(heard.features)
    prompt = gpt.prompt_inputs(latents, feelings["gpt.merged_emotion"], chain.codes("gpt.text_ids"))
    yield from feelings.items()
    yield from (
        ("gpt.speaker_latents", latents[..., ::every]),
        ("gpt.prompt_embeddings", prompt[..., ::every]),
        ("gpt.first_logits", gpt.mel_head(prepare(gpt, prompt, 1, 1, "trained").hidden)),
    )
    yield from searches(gpt, {"": prompt}, chain)
    latent = latent_pass(gpt, prompt, chain.codes("gpt.codes_used")[0])[None]
    yield "gpt.latent", latent[..., ::every]
    yield "content of the latents", chain.make("s2mel", "gpt_layer")(latent)


def gpt_25(chain: Chain, heard: Heard) -> Values:
    gpt, every = chain.make("gpt"), chain.size.gpt_every
    feelings = dict(emotions(gpt, chain, heard))
    row = gpt.speaker_latents(heard.features, heard.style)
    merged = feelings["gpt.merged_emotion"]
    yield from ((name, value[..., ::every]) for name, value in feelings.items())
    yield "gpt.speaker_row", row[..., ::every]
    yield "gpt.conditioning", gpt.conditioning(row, merged)[..., ::every]
    prompts = {}
    for name in chain.golden:
        language = name.removeprefix("gpt.text_ids_")
        if language == name or language == "kept":
            continue
        kept = torch.tensor([kept_ids(chain.golden[name][0].tolist())])
        if language == "zh":
            yield "gpt.text_ids_kept", kept
        prompt = prompts[language] = gpt.prompt_inputs(row, merged, kept, LANGUAGE_ROWS[language])
        yield f"gpt.prompt_embeddings_{language}", prompt[..., ::every]
        logits = gpt.mel_head(prepare(gpt, prompt, 1, 1, "trained").hidden)
        yield f"gpt.first_logits_{language}", logits
    first = {"zh": prompts["zh"], **prompts}
    yield from searches(gpt, first, chain)
    codes = chain.codes("gpt.codes_used")
    tokens = torch.cat([torch.tensor([[gpt.config.start_mel_token]]), codes], dim=1)
    inputs = gpt.mel_inputs(tokens, torch.arange(tokens.shape[1]))
    hidden = gpt.latents(torch.cat([first["zh"], inputs], dim=1))[:, first["zh"].shape[1] :]
    logs = gpt.mel_head(hidden[:, :-1]).log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    yield "gpt.hidden", hidden[..., ::every]
    yield "gpt.code_log_probs", logs


def s2mel(chain: Chain, heard: Heard, reference: Tensor, content: Tensor) -> Values:
    """Conditions, flow and wave; the arrays of IndexTTS-2.5 are told apart by their duration factors."""
    config, every = chain.config, chain.size.gpt_every
    regulator = chain.make("s2mel", "length_regulator")
    codes = chain.golden["gpt.codes_used"].shape[1]
    prompt_condition = regulator(reference, heard.mel.shape[-1])
    yield "s2mel.prompt_condition", prompt_condition[..., ::every]
    dit = chain.make("s2mel", "cfm").estimator
    target = heard.mel
    for factor in DURATION_FACTORS:
        frames = target_frames(codes, config.s2mel.regulator, factor)
        condition = regulator(content, frames)
        for suffix in ("", f"_{factor}") if factor == 1 else (f"_{factor}",):
            yield f"s2mel.target_length{suffix}", torch.tensor([frames])
            yield f"s2mel.condition{suffix}", condition[..., ::every]
        conditions = torch.cat([prompt_condition, condition], dim=1)
        if factor != 1:
            name = f"s2mel.mel_{FEW_STEPS}_steps_{factor}"
            if name in chain.golden:
                yield name, mel_of(dit, chain, heard, conditions, FEW_STEPS)
            continue
        yield "s2mel.dit_velocity", velocity(dit, chain, heard, conditions)
        for steps in chain.size.steps:
            target = mel_of(dit, chain, heard, conditions, steps)
            yield f"s2mel.mel_{steps}_steps", target
    if "length.codes" in chain.golden:
        pairs = zip(
            chain.golden["length.codes"].tolist(), chain.golden["length.factors"].tolist(), strict=True
        )
        lengths = [target_frames(count, config.s2mel.regulator, factor) for count, factor in pairs]
        yield "length.frames", torch.tensor(lengths)
    vocoder = chain.make("vocoder")
    yield from (
        ("bigvgan.wave", vocoder(target)[:, None]),
        ("bigvgan.wave_from_reference_mel", vocoder(heard.mel[..., :REFERENCE_CLIP])[:, None]),
    )


def start_noise(chain: Chain, conditions: Tensor) -> Tensor:
    return noise(chain.tag + ".z", 1, chain.config.audio.n_mels, conditions.shape[1])


def velocity(dit: DiT, chain: Chain, heard: Heard, conditions: Tensor) -> Tensor:
    start = start_noise(chain, conditions)
    prompt = nn.functional.pad(heard.mel, (0, start.shape[-1] - heard.mel.shape[-1]))
    return dit(start, torch.tensor([VELOCITY_TIME]), prompt, conditions, heard.style)


def mel_of(dit: DiT, chain: Chain, heard: Heard, conditions: Tensor, steps: int) -> Tensor:
    return solve(dit, start_noise(chain, conditions), heard.mel, conditions, heard.style, steps, CFG_RATE)


@torch.inference_mode()
def stages(chain: Chain) -> Values:
    """(name, value) of every golden array, computed by our stages one after another."""
    codec, gpt = (codec_20, gpt_20) if chain.config.layout == "2.0" else (codec_25, gpt_25)
    content = {}
    for item in front_end(chain):
        if isinstance(item, Heard):
            heard = item
        else:
            yield item
    gc.collect()
    for part in (codec, gpt):
        for name, value in part(chain, heard):
            if name.startswith("content of "):
                content[name.removeprefix("content of the ")] = value
            else:
                yield name, value
        gc.collect()
    yield from s2mel(chain, heard, content["reference"], content["codes"] + content.get("latents", 0))
