"""Model configuration: frozen dataclasses, read strictly from YAML (`pipeline.strict`).

Every size and every published constant lives here by name, so that the same classes serve the full
model, the mini model of the golden values and any small model. `load_config` reads our own format
(`configs/NAME.yaml`, which may be what is different from a `base`); `pipeline.published` puts the files
of a published model directory on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints import LAYOUTS
from pipeline.strict import ConfigError, build, read_yaml

HALVES = ("float16", "bfloat16")
STRIDES = (1, 2)
TEXTS = ("pieces", "phones")
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
DENOISERS = ("mossformer2", "deepfilternet3")  # that enhance/denoise.py loads


@dataclass(frozen=True)
class AudioConfig:
    """Front end of the vocoder's mel; `sample_rate` is also the output's."""

    sample_rate: int
    n_fft: int
    win_length: int
    hop_length: int
    n_mels: int
    fmin: float
    fmax: float | None
    magnitude_floor: float
    log_floor: float


@dataclass(frozen=True)
class ReferenceConfig:
    """What is taken of a reference clip. Seconds, except `silence_dbfs` (peak). denoiser: what cleans it on request,
    of DENOISERS."""

    sample_rate: int
    min_seconds: float
    max_seconds: float
    silence_dbfs: float
    cache_bytes: int
    denoiser: str


@dataclass(frozen=True)
class SemanticConfig:
    """w2v-bert 2.0; `hidden_layer` is the hidden state used, and the number of layers built."""

    hidden_size: int
    hidden_layer: int
    intermediate_size: int
    heads: int
    conv_kernel: int
    left_positions: int
    right_positions: int
    mel_bins: int
    stride: int
    padding_value: float


@dataclass(frozen=True)
class CodecConfig:
    """`stride`: semantic frames a code stands for. Above 1 a strided convolution stands before the encoder, and the
    decoder with an upsampling behind it makes features of codes again: those are what s2mel reads."""

    stride: int
    codebook_size: int
    hidden_size: int
    codebook_dim: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int


@dataclass(frozen=True)
class SpeakerConfig:
    """CAMPPlus. `blocks` lists (layers, dilation) of the three dense blocks."""

    mel_bins: int
    sample_rate: int
    head_channels: int
    tdnn_channels: int
    growth: int
    bottleneck: int
    kernel: int
    blocks: tuple[tuple[int, int], ...]
    segment_frames: int
    style_dim: int


@dataclass(frozen=True)
class ConformerConfig:
    """Conformer + perceiver; the perceiver has as many heads as the conformer."""

    output_size: int
    linear_units: int
    attention_heads: int
    num_blocks: int
    conv_kernel: int
    perceiver_latents: int
    perceiver_dim: int
    perceiver_depth: int
    perceiver_dim_head: int
    perceiver_mult: int


@dataclass(frozen=True)
class AlignmentConfig:
    """The heads of the layer `layer` that follow the text, and how many tokens they may look `back` and
    `ahead` of their place in it (pipeline/gpt/monotonic.py)."""

    layer: int
    heads: tuple[int, ...]
    back: int
    ahead: int


@dataclass(frozen=True)
class GPTConfig:
    """`speaker`: conformer and perceiver over the reference's features; None: one row, projected from its style.
    `language_rows` of the embedding added to the text; 0: there is none. `half`: the type that halves it on a GPU."""

    model_dim: int
    layers: int
    heads: int
    max_mel_tokens: int
    max_text_tokens: int
    number_text_tokens: int
    number_mel_codes: int
    start_mel_token: int
    stop_mel_token: int
    start_text_token: int
    stop_text_token: int
    language_rows: int
    half: str
    speaker: ConformerConfig | None
    emotion: ConformerConfig
    alignment: AlignmentConfig | None  # None: not known

    @property
    def speaker_rows(self) -> int:
        """Rows of the prompt that say whose voice it is."""
        return 1 if self.speaker is None else self.speaker.perceiver_latents


@dataclass(frozen=True)
class EmotionConfig:
    """Rows per emotion of the speaker and emotion matrices, and the front end's bias and cap."""

    names: tuple[str, ...]
    rows: tuple[int, ...]
    bias: tuple[float, ...]
    total_cap: float


@dataclass(frozen=True)
class RegulatorConfig:
    channels: int
    in_channels: int
    conv_layers: int
    frames_per_code: float


@dataclass(frozen=True)
class DiTConfig:
    hidden_dim: int
    heads: int
    depth: int
    in_channels: int
    content_dim: int
    style_dim: int
    ffn_multiple: int
    rope_base: float
    time_frequencies: int
    time_scale: float


@dataclass(frozen=True)
class WaveNetConfig:
    hidden_dim: int
    num_layers: int
    kernel_size: int
    dilation_rate: int


@dataclass(frozen=True)
class S2MelConfig:
    """`latent_widths` are the outputs of gpt_layer's linears before the last (codec hidden) one; None: the
    GPT's latents are not used. `prompt_seconds`: how much of the reference the flow continues, from its
    beginning (None: all of it). `learned_guidance`: the rate of guidance that was distilled into the flow, 0 for none;
    what it is told without a condition stays as it was."""

    latent_widths: tuple[int, ...] | None
    prompt_seconds: float | None
    learned_guidance: float
    regulator: RegulatorConfig
    dit: DiTConfig
    wavenet: WaveNetConfig


@dataclass(frozen=True)
class VocoderConfig:
    num_mels: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SynthesisConfig:
    """Defaults of one synthesis; a request can override all but mel_positions, noise_scale (standard deviation of the
    noise the flow starts from: 1 is what it was trained with, less is steadier) and time_sway (where the flow's steps
    are dense: 0 even, -1 near the noise)."""

    temperature: float
    top_k: int
    top_p: float
    num_beams: int
    repetition_penalty: float
    length_penalty: float
    max_mel_tokens: int
    mel_positions: str
    diffusion_steps: int
    cfg_rate: float
    noise_scale: float
    time_sway: float
    segment_tokens: int
    segment_silence_ms: int
    speed: float


@dataclass(frozen=True)
class PaceConfig:
    """Seconds of speech a token of the text may take before a segment counts as failed: a token is a letter, about
    three letters or a Chinese character, as the model's vocabulary has it."""

    min_seconds_per_token: float
    max_seconds_per_token: float


@dataclass(frozen=True)
class ModelConfig:
    name: str
    description: str
    weights: str  # "files": a published directory; "deterministic": made from key names (plumbing)
    layout: str  # of LAYOUTS: which files there are, and what is in them
    vocabulary: str | None  # the file of its tokens: SentencePiece (.model) or byte-level BPE (.tiktoken)
    languages: tuple[str, ...]  # that it speaks, of zh, en, ja, es and ar
    text: str  # what its tokens are: "pieces" of the vocabulary or "phones", which need none
    audio: AudioConfig
    reference: ReferenceConfig
    semantic: SemanticConfig
    codec: CodecConfig
    speaker: SpeakerConfig
    gpt: GPTConfig
    emotion: EmotionConfig
    s2mel: S2MelConfig
    vocoder: VocoderConfig
    pace: PaceConfig
    synthesis: SynthesisConfig

    def __post_init__(self):
        check_consistent(self)


def check_consistent(config: ModelConfig) -> None:
    """Raise ConfigError when two sections contradict each other."""
    pairs = {
        "semantic.hidden_size = codec.hidden_size": (config.semantic.hidden_size, config.codec.hidden_size),
        "codec.hidden_size = s2mel.regulator.in_channels": (
            config.codec.hidden_size,
            config.s2mel.regulator.in_channels,
        ),
        "s2mel.regulator.channels = s2mel.dit.content_dim": (
            config.s2mel.regulator.channels,
            config.s2mel.dit.content_dim,
        ),
        "speaker.style_dim = s2mel.dit.style_dim": (config.speaker.style_dim, config.s2mel.dit.style_dim),
        "audio.n_mels = s2mel.dit.in_channels": (config.audio.n_mels, config.s2mel.dit.in_channels),
        "audio.n_mels = vocoder.num_mels": (config.audio.n_mels, config.vocoder.num_mels),
        "codec.codebook_size = gpt.start_mel_token": (config.codec.codebook_size, config.gpt.start_mel_token),
        "gpt.start_mel_token + 2 = gpt.number_mel_codes": (
            config.gpt.start_mel_token + 2,
            config.gpt.number_mel_codes,
        ),
        "gpt.model_dim = gpt.speaker.perceiver_dim": (
            config.gpt.model_dim,
            config.gpt.speaker.perceiver_dim if config.gpt.speaker else config.gpt.model_dim,
        ),
        "emotion.names = emotion.rows = emotion.bias in length": (
            len(config.emotion.names),
            len(config.emotion.rows),
        ),
    }
    for rule, (left, right) in pairs.items():
        if left != right:
            raise ConfigError(
                f"model configuration '{config.name}': {rule} does not hold: {left} and {right}"
            )
    hop = 1
    for rate in config.vocoder.upsample_rates:
        hop *= rate
    if hop != config.audio.hop_length:
        raise ConfigError(
            f"model configuration '{config.name}': the vocoder upsamples by {hop}, "
            f"the mel hop is {config.audio.hop_length}"
        )
    gpt, alignment = config.gpt, config.gpt.alignment
    check_token(config, "start_text_token", 0, gpt.number_text_tokens)  # the text embedding has one row more
    check_token(config, "stop_text_token", 0, gpt.number_text_tokens)
    check_token(config, "stop_mel_token", gpt.start_mel_token + 1, gpt.number_mel_codes - 1)
    if alignment is not None and not (
        0 <= alignment.layer < gpt.layers
        and alignment.heads
        and min(alignment.heads) >= 0
        and max(alignment.heads) < gpt.heads
        and min(alignment.back, alignment.ahead) >= 0
    ):
        raise ConfigError(
            f"model configuration '{config.name}': gpt.alignment is {alignment}; allowed: a layer below "
            f"{gpt.layers}, one or more heads below {gpt.heads}, back and ahead 0 or more"
        )
    for name, value, allowed in (
        ("weights", config.weights, ("files", "deterministic")),
        ("layout", config.layout, tuple(LAYOUTS)),
        ("text", config.text, TEXTS),
        ("reference.denoiser", config.reference.denoiser, DENOISERS),
        ("gpt.half", config.gpt.half, HALVES),
        ("codec.stride", config.codec.stride, STRIDES),
    ):
        if value not in allowed:
            raise ConfigError(
                f"model configuration '{config.name}': {name} is '{value}'; allowed: {', '.join(map(str, allowed))}"
            )
    if (config.vocabulary is None) != (config.text == "phones"):
        raise ConfigError(
            f"model configuration '{config.name}': vocabulary is {config.vocabulary}; "
            "allowed: null where text is phones, else a file"
        )


def check_token(config: ModelConfig, name: str, low: int, high: int) -> None:
    """Raise ConfigError when a token of the GPT has no embedding, or is another's."""
    value = getattr(config.gpt, name)
    if not low <= value <= high:
        allowed = f"{low}" if low == high else f"{low} to {high}"
        raise ConfigError(f"model configuration '{config.name}': gpt.{name} is {value}; allowed: {allowed}")


def config_names() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem != "weights")


def load_config(name: str) -> ModelConfig:
    """The configuration `configs/NAME.yaml`."""
    return build(ModelConfig, config_values(name), f"configs/{name}.yaml")


def config_values(name: str) -> dict:
    """What `configs/NAME.yaml` holds, over what the file that it names as `base` does."""
    if name not in config_names():
        raise ConfigError(f"unknown model '{name}'; known: {', '.join(config_names())}")
    values = read_yaml(CONFIGS / f"{name}.yaml")
    base = values.pop("base", None) if isinstance(values, dict) else None
    return values if base is None else overlaid(config_values(base), values)


def overlaid(base: dict, values: dict) -> dict:
    """`base` with `values` put over it, mapping by mapping."""
    merged = dict(base)
    for key, value in values.items():
        below = merged.get(key)
        merged[key] = overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
