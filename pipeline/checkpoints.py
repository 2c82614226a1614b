"""The files of a published model and what is in them: names, keys, nesting. A table, nothing is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Section:
    """One state dict inside a checkpoint file.

    path: keys to descend from the file's top; every one may be absent when `optional_path`.
    prefix: what its keys start with in the converted safetensors file.
    unused: regular expressions of published keys that inference does not need.
    weight_norm: regular expressions of parameters the publication stores as weight_g and weight_v.
    """

    path: tuple[str, ...] = ()
    prefix: str = ""
    optional_path: bool = False
    unused: tuple[str, ...] = ()
    weight_norm: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    file: str
    sections: Mapping[str, Section] = field(default_factory=lambda: {"": Section()})


_WEIGHT_NORM_VQ = (r"quantizer\.quantizers\.0\.(in|out)_project\.weight$",)

CHECKPOINTS: Mapping[str, Checkpoint] = {
    "gpt": Checkpoint(
        "gpt.pth",
        {
            "": Section(
                path=("model",),
                optional_path=True,
                unused=(r"text_head\.", r"gpt\.h\.\d+\.attn\.(masked_)?bias$", r"gpt\.wte\."),
            )
        },
    ),
    "s2mel": Checkpoint(
        "s2mel.pth",
        {
            "cfm": Section(
                ("net", "cfm"),
                "cfm.",
                unused=(
                    r"estimator\.(cond_embedder|content_mask_embedder|x_embedder)\.",
                    r"estimator\.transformer\.layers\.\d+\.skip_in_linear\.",
                ),
                weight_norm=(
                    r"estimator\.wavenet\..*\.conv\.conv\.weight$",
                    r"estimator\.final_layer\.linear\.weight$",
                    r"estimator\.x_embedder\.weight$",
                ),
            ),
            "length_regulator": Section(
                ("net", "length_regulator"), "length_regulator.", unused=(r"embedding\.", r"mask_token$")
            ),
            "gpt_layer": Section(("net", "gpt_layer"), "gpt_layer."),
        },
    ),
    "semantic_stats": Checkpoint("wav2vec2bert_stats.pt"),
    "speaker_matrix": Checkpoint("feat1.pt"),
    "emotion_matrix": Checkpoint("feat2.pt"),
    "semantic": Checkpoint(
        "w2v-bert-2.0/model.safetensors",
        {
            "": Section(
                unused=(r"encoder\.layers\.\d+\.", r"masked_spec_embed$", r"adapter\.", r"intermediate_ffn\.")
            )
        },
    ),
    "codec": Checkpoint(
        "semantic_codec/model.safetensors", {"": Section(unused=(r"decoder\.",), weight_norm=_WEIGHT_NORM_VQ)}
    ),
    "speaker": Checkpoint("campplus_cn_common.bin"),
    "vocoder": Checkpoint(
        "bigvgan/bigvgan_generator.pt",
        {
            "": Section(
                path=("generator",),
                optional_path=True,
                weight_norm=(
                    r"conv_pre\.weight$",
                    r"conv_post\.weight$",
                    r"ups\.\d+\.0\.weight$",
                    r"resblocks\.\d+\.convs[12]\.\d+\.weight$",
                ),
            )
        },
    ),
}
# What IndexTTS-2.5 publishes otherwise: a codec of its own, and no use for s2mel's latents.
CHECKPOINTS_2_5: Mapping[str, Checkpoint] = {
    **CHECKPOINTS,
    "s2mel": replace(
        CHECKPOINTS["s2mel"],
        sections={key: CHECKPOINTS["s2mel"].sections[key] for key in ("cfm", "length_regulator")},
    ),
    "codec": Checkpoint("codec.pth", {"": Section(path=("model",), weight_norm=_WEIGHT_NORM_VQ)}),
}
LAYOUTS: Mapping[str, Mapping[str, Checkpoint]] = {"2.0": CHECKPOINTS, "2.5": CHECKPOINTS_2_5}
BARE_TENSOR = "matrix"  # the key a file that is a single tensor (feat1.pt) gets
