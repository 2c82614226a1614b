"""The configuration of a published model directory.

Sizes come from the files the publishers ship (`config.yaml`, `bigvgan/config.json`,
`w2v-bert-2.0/config.json`); what those do not say stays as in `configs/indextts2.yaml`, or in
`configs/indextts2.5.yaml` where the vocabulary is that model's: published files may give another's `version`.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pipeline.config import ModelConfig, load_config
from pipeline.strict import ConfigError, build, read_yaml, to_dict

logger = logging.getLogger(__name__)

BASES = ("indextts2", "indextts2.5")

# our section -> {our key: published key}, for the three published files
GPT = {
    key: key
    for key in (
        "model_dim",
        "layers",
        "heads",
        "max_mel_tokens",
        "max_text_tokens",
        "number_text_tokens",
        "number_mel_codes",
        "start_mel_token",
        "stop_mel_token",
        "start_text_token",
        "stop_text_token",
    )
}
CONFORMER = {
    key: key for key in ("output_size", "linear_units", "attention_heads", "num_blocks", "perceiver_mult")
}
CODEC = {
    key: key
    for key in (
        "codebook_size",
        "hidden_size",
        "codebook_dim",
        "vocos_dim",
        "vocos_intermediate_dim",
        "vocos_num_layers",
    )
}
REGULATOR = {"channels": "channels", "in_channels": "in_channels"}
DIT = {
    "hidden_dim": "hidden_dim",
    "heads": "num_heads",
    "depth": "depth",
    "in_channels": "in_channels",
    "content_dim": "content_dim",
}
WAVENET = {key: key for key in ("hidden_dim", "num_layers", "kernel_size", "dilation_rate")}
SPECTRUM = {key: key for key in ("n_fft", "win_length", "hop_length", "n_mels", "fmin", "fmax")}
VOCODER = {
    key: key
    for key in (
        "num_mels",
        "upsample_rates",
        "upsample_kernel_sizes",
        "upsample_initial_channel",
        "resblock_kernel_sizes",
        "resblock_dilation_sizes",
    )
}
SEMANTIC = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "heads": "num_attention_heads",
    "conv_kernel": "conv_depthwise_kernel_size",
    "left_positions": "left_max_position_embeddings",
    "right_positions": "right_max_position_embeddings",
}
NULLS = ("None", "null", "none")  # how the published YAML spells no upper frequency


def published_config(directory: Path) -> ModelConfig:
    """ModelConfig of `directory`. Raises ConfigError naming the file and the key that is missing."""
    values = to_dict(base_of(directory))
    values.update(name=directory.name, description=f"model directory {directory.name}", weights="files")
    main = apply_main_config(values, read_yaml(directory / "config.yaml"), "config.yaml")
    for section, table, file in (
        ("vocoder", VOCODER, "bigvgan/config.json"),
        ("semantic", SEMANTIC, "w2v-bert-2.0/config.json"),
    ):
        if (directory / file).is_file():
            _take(main[section], _read_json(directory / file, file), table, file)
    layers = _layers(directory)
    if layers is not None:
        main["semantic"]["hidden_layer"] = min(main["semantic"]["hidden_layer"], layers)
    return build(ModelConfig, main, str(directory.name))


def base_of(directory: Path) -> ModelConfig:
    """The configuration of the published model that `directory` is in the layout of: the first whose
    vocabulary it has."""
    bases = [load_config(name) for name in BASES]
    return next((b for b in bases if b.vocabulary and (directory / b.vocabulary).is_file()), bases[0])


def apply_main_config(values: dict, published: dict, file: str) -> dict:
    """`values` (a ModelConfig as dict) with the sizes of a published config.yaml put in."""
    if not isinstance(published, dict):
        raise ConfigError(f"{file}: expected a mapping")
    gpt = _section(published, "gpt", file)
    _take(values["gpt"], gpt, GPT, f"{file}: gpt")
    for ours, theirs in (("speaker", "condition_module"), ("emotion", "emo_condition_module")):
        if values["gpt"][ours] is not None:
            _take(values["gpt"][ours], _section(gpt, theirs, file), CONFORMER, f"{file}: gpt.{theirs}")
    if values["gpt"]["speaker"] is not None:
        values["gpt"]["speaker"]["perceiver_dim"] = values["gpt"]["model_dim"]
    _take(values["codec"], _section(published, "semantic_codec", file), CODEC, f"{file}: semantic_codec")
    values["semantic"]["hidden_size"] = values["codec"]["hidden_size"]
    s2mel = _section(published, "s2mel", file)
    _take(
        values["s2mel"]["regulator"], _section(s2mel, "length_regulator", file), REGULATOR, f"{file}: s2mel"
    )
    _take(values["s2mel"]["dit"], _section(s2mel, "DiT", file), DIT, f"{file}: s2mel.DiT")
    _take(values["s2mel"]["wavenet"], _section(s2mel, "wavenet", file), WAVENET, f"{file}: s2mel.wavenet")
    audio = _section(s2mel, "preprocess_params", file)
    _take(values["audio"], audio, {"sample_rate": "sr"}, f"{file}: s2mel.preprocess_params")
    _take(values["audio"], _section(audio, "spect_params", file), SPECTRUM, f"{file}: spect_params")
    if values["audio"]["fmax"] in NULLS:
        values["audio"]["fmax"] = None
    if "emo_num" in published:
        values["emotion"]["rows"] = published["emo_num"]
    return values


def to_published(config: ModelConfig) -> dict:
    """The published config.yaml that says what `config` says: the inverse of `apply_main_config`."""

    def give(section, table):
        return {theirs: section[ours] for ours, theirs in table.items()}

    values = to_dict(config)
    gpt, s2mel, audio = values["gpt"], values["s2mel"], values["audio"]
    spectrum = give(audio, SPECTRUM)
    spectrum["fmax"] = "None" if spectrum["fmax"] is None else spectrum["fmax"]
    return {
        "gpt": give(gpt, GPT)
        | {
            theirs: give(gpt[ours], CONFORMER)
            for ours, theirs in (("speaker", "condition_module"), ("emotion", "emo_condition_module"))
            if gpt[ours] is not None
        },
        "semantic_codec": give(values["codec"], CODEC),
        "s2mel": {
            "preprocess_params": {"sr": audio["sample_rate"], "spect_params": spectrum},
            "length_regulator": give(s2mel["regulator"], REGULATOR),
            "DiT": give(s2mel["dit"], DIT),
            "wavenet": give(s2mel["wavenet"], WAVENET),
        },
        "emo_num": values["emotion"]["rows"],
        "version": float(config.layout),
    }


def _layers(directory: Path) -> int | None:
    path = directory / "w2v-bert-2.0/config.json"
    layers = _read_json(path, path.name).get("num_hidden_layers") if path.is_file() else None
    return layers if isinstance(layers, int) else None


def _read_json(path: Path, file: str) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ConfigError(f"cannot read {file}: {e}") from e


def _section(values: dict, key: str, where: str) -> dict:
    if not isinstance(values.get(key), dict):
        raise ConfigError(f"{where}: missing section {key}")
    return values[key]


def _take(into: dict, values: dict, table: dict[str, str], where: str) -> None:
    missing = [theirs for theirs in table.values() if theirs not in values]
    if missing:
        raise ConfigError(f"{where}: missing key {', '.join(missing)}")
    into.update({ours: values[theirs] for ours, theirs in table.items()})
