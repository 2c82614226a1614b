"""Voices on disk: `*.voice.safetensors`, everything but the reference audio itself.

Where the prompt condition is made of the reference's semantic codes, which are a few hundred integers, those
are stored and it is made again; so a file is well under a megabyte. Where it is made of features it is
stored, up to 3 MB. Floats are stored in float32 and read in the precision the model computes them in, so that
a file speaks with the same bytes as its audio in every precision.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.files import write_whole
from pipeline.model import Model, dtype_of
from pipeline.voice import Voice, is_coded

FORMAT, FORMAT_VERSION = "indextts2-cog voice", "1"
SUFFIX = ".voice.safetensors"
MAX_BYTES = 4_000_000
MAX_HEADER_BYTES = 100_000
LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header
SEMANTIC_FRAME_RATE = 100  # of w2v-bert's log-mel, before `semantic.stride` frames are stacked into one code
CODE_SLACK = 2  # semantic frames a clip may be short or long of its seconds


class VoiceFileError(ValueError):
    """A voice file that cannot be used: one line that says what is wrong with it."""


@dataclass(frozen=True)
class VoiceInfo:
    """What a voice file says of itself: strings as written, seconds of reference."""

    model: str
    fingerprint: str
    precision: str
    seconds: float
    source_sha256: str
    options: str


def is_voice_file(path: Path) -> bool:
    """Whether the content, not the name, is that of a safetensors file."""
    try:
        with path.open("rb") as file:
            head = file.read(LENGTH_BYTES + 1)
    except OSError:
        return False
    return (
        len(head) > LENGTH_BYTES
        and head[LENGTH_BYTES:] == b"{"
        and int.from_bytes(head[:LENGTH_BYTES], "little") < 2**40
    )


def write_voice(path: Path, voice: Voice, model: Model, source_sha256: str, options: str) -> None:
    """Write `voice`, made by `model` from the audio of that hash with those enhancement options."""
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": model.config.name,
        "fingerprint": model.fingerprint,
        "precision": model.precision,
        "seconds": repr(voice.seconds),
        "source_sha256": source_sha256,
        "options": options,
    }
    content = safetensors.torch.save(
        {
            key: value.float().cpu().contiguous()
            if value.is_floating_point()
            else value.to(torch.int32).cpu().contiguous()
            for key, value in stored(voice).items()
        },
        metadata,
    )
    write_whole(path, content)


def stored(voice: Voice) -> dict[str, Tensor]:
    made_again = "prompt_condition" if voice.prompt_codes is not None else None
    return {key: value for key, value in voice.tensors().items() if key != made_again}


def read_info(path: Path) -> VoiceInfo:
    """The file's own description, without a model. Raises VoiceFileError."""
    return _info(_read_bytes(path))


def read_voice(path: Path, model: Model) -> Voice:
    """The Voice in a file, on the model's device. Raises VoiceFileError for a file that is damaged, of
    another format version, or made with another model."""
    content = _read_bytes(path)
    info = _info(content)
    if info.fingerprint != model.fingerprint:
        raise VoiceFileError(
            f"the voice file was made with model '{info.model[:60]}' ({info.fingerprint[:12]}); this is "
            f"'{model.config.name}' ({model.fingerprint[:12]}): make it again from the audio"
        )
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as e:
        raise VoiceFileError(f"the voice file is damaged: {_line(e)}") from e
    _check_tensors(tensors, info, model)
    dtypes = {
        "speaker_latents": dtype_of(model.gpt),
        "emotion_vector": dtype_of(model.gpt),
        "style": dtype_of(model.speaker),
        "prompt_codes": torch.long,
    }
    tensors = {key: value.to(model.device, dtypes.get(key, value.dtype)) for key, value in tensors.items()}
    codes = tensors.pop("prompt_codes", None)
    if codes is not None:
        with torch.inference_mode():
            frames = tensors["reference_mel"].shape[-1]
            tensors["prompt_condition"] = model.regulator(model.codec.decode(codes), frames)
    return Voice(prompt_codes=codes, seconds=info.seconds, **tensors)


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise VoiceFileError("the voice file is not a regular file")
        if status.st_size > MAX_BYTES:
            raise VoiceFileError(
                f"the voice file has {status.st_size:,} bytes; allowed: at most {MAX_BYTES:,}"
            )
        return path.read_bytes()
    except OSError as e:
        raise VoiceFileError(f"the voice file cannot be read: {e.strerror}") from e


def _info(content: bytes) -> VoiceInfo:
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(content) - LENGTH_BYTES):
        raise VoiceFileError(
            f"the voice file is damaged: its header claims {length:,} bytes, the file has {len(content):,}"
        )
    try:
        metadata = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length]).get("__metadata__") or {}
        if metadata.get("format") != FORMAT:
            raise VoiceFileError(
                f"the file is a safetensors file, but not a voice (format '{str(metadata.get('format'))[:40]}')"
            )
        if metadata.get("format_version") != FORMAT_VERSION:
            raise VoiceFileError(
                f"the voice file has format version {str(metadata.get('format_version'))[:20]}; "
                f"allowed: {FORMAT_VERSION}"
            )
        return VoiceInfo(
            metadata["model"],
            metadata["fingerprint"],
            metadata.get("precision", "exact"),  # of files that do not say
            float(metadata["seconds"]),
            metadata["source_sha256"],
            metadata["options"],
        )
    except VoiceFileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise VoiceFileError(f"the voice file is damaged: its header is unreadable ({_line(e)})") from e


def _check_tensors(tensors: dict[str, Tensor], info: VoiceInfo, model: Model) -> None:
    """Keys, types, shapes and values. Raises VoiceFileError naming the first tensor that is wrong."""
    config, limits = model.config, model.config.reference
    if not limits.min_seconds <= info.seconds <= limits.max_seconds:
        raise VoiceFileError(
            f"the voice file says {info.seconds:g} s; allowed: {limits.min_seconds:g} to {limits.max_seconds:g} s"
        )
    frames = int(info.seconds * config.audio.sample_rate) // config.audio.hop_length
    codes = int(info.seconds * SEMANTIC_FRAME_RATE / config.semantic.stride)
    mel = tensors.get("reference_mel")
    own_frames = mel.shape[-1] if mel is not None and mel.dim() else frames
    shapes = {
        "speaker_latents": (1, config.gpt.speaker_rows, config.gpt.model_dim),
        "style": (1, config.speaker.style_dim),
        "emotion_vector": (1, config.gpt.model_dim),
        "reference_mel": (1, config.audio.n_mels, frames),
        **(
            {"prompt_codes": (1, codes)}
            if is_coded(model)
            else {"prompt_condition": (1, own_frames, config.s2mel.dit.content_dim)}
        ),
    }
    slack = {"reference_mel": 1, "prompt_codes": CODE_SLACK}
    for what, keys in (("lacks", set(shapes) - set(tensors)), ("has an unknown", set(tensors) - set(shapes))):
        if keys:
            raise VoiceFileError(f"the voice file {what} {', '.join(sorted(keys)[:5])}")
    for key, shape in shapes.items():
        tensor = tensors[key]
        wanted = torch.int32 if key == "prompt_codes" else torch.float32
        if tensor.dtype != wanted:
            raise VoiceFileError(f"the voice file's {key} is {tensor.dtype}; expected {wanted}")
        if (
            tensor.dim() != len(shape)
            or tensor.shape[:-1] != shape[:-1]
            or abs(tensor.shape[-1] - shape[-1]) > slack.get(key, 0)
        ):
            raise VoiceFileError(f"the voice file's {key} is {list(tensor.shape)}; expected {list(shape)}")
        if key == "prompt_codes":
            if tensor.min() < 0 or tensor.max() >= config.codec.codebook_size:
                raise VoiceFileError(
                    f"the voice file's {key} has values outside 0 to {config.codec.codebook_size - 1}"
                )
        elif not torch.isfinite(tensor).all():
            raise VoiceFileError(f"the voice file's {key} has values that are not finite (NaN or infinity)")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
