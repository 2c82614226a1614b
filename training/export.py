"""Writes trained stages as a model directory that the service loads: float16 safetensors in the published layout."""

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.checkpoints import BARE_TENSOR, CHECKPOINTS
from pipeline.loading import OWN_FILE, converted_path, is_constant
from training import discriminators, features, gpt, loop, speaker
from training.device import place
from training.workspace import Workspace

LOGS = "training"  # folder of the metrics logs beside the weights
MATRIX_FRAMES = 100  # of conditioning (4 s) that a clip must have to become a row of the emotion matrix


def model_states(work: Workspace, s2mel_run: str) -> dict[str, dict[str, Tensor]]:
    """Checkpoint name -> its tensors, from the averaged weights of every stage."""
    config = work.config
    model = gpt.load_gpt(config.gpt, config.semantic.hidden_size, loop.averaged(work.run("gpt")))
    rows, vectors = emotion_matrices(work, model)
    return {
        "semantic": work.recognizer.model.state_dict(),
        "semantic_stats": work.statistics,
        "codec": work.codec.state_dict(),
        "speaker": speaker.load_encoder(config.speaker, loop.averaged(work.run("speaker"))).state_dict(),
        "gpt": model.state_dict(),
        "s2mel": loop.averaged(work.run(s2mel_run)),
        "vocoder": vocoder_weights(work),
        "speaker_matrix": {BARE_TENSOR: rows},
        "emotion_matrix": {BARE_TENSOR: vectors},
    }


def vocoder_weights(work: Workspace) -> dict[str, Tensor]:
    return discriminators.vocoder_state(loop.averaged(work.run("vocoder")))


def emotion_matrices(work: Workspace, model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """Styles [rows, S] and emotion vectors [rows, D] of clips of the corpus.

    The corpus has no acted emotions: a row is the delivery of one clip, so that weights blend deliveries.
    """
    styles = work.styles(planned=range(features.CLIPS_PER_SHARD))
    clips = work.cache("features").load(planned=range(features.CLIPS_PER_SHARD))
    chosen = [index for index in clips if index in styles and len(clips[index]["features"]) >= MATRIX_FRAMES]
    chosen = chosen[: sum(work.config.emotion.rows)]
    with torch.inference_mode():
        vectors = [model.emotion_vector(place(clips[index]["features"]).float()[None])[0] for index in chosen]
    return torch.from_numpy(np.stack([styles[index] for index in chosen])), torch.stack(vectors).cpu()


def export(work: Workspace, directory: Path, s2mel_run: str) -> int:
    """Write every file of the model into `directory`; returns the bytes written."""
    total = 0
    for name, state in model_states(work, s2mel_run).items():
        path = converted_path(directory / CHECKPOINTS[name].file)
        path.parent.mkdir(parents=True, exist_ok=True)
        halves = {
            key: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for key, value in state.items()
            if not is_constant(key)
        }
        save_file(halves, path, metadata=OWN_FILE)
        total += path.stat().st_size
    (directory / LOGS).mkdir(exist_ok=True)
    for log in (work.folder / "runs").glob(f"*/{loop.METRICS}"):
        shutil.copyfile(log, directory / LOGS / f"{log.parent.name}.txt")
    return total
