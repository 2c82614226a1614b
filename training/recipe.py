"""The stages of `training.tiny_en`: which data each takes, and what is measured after it.

Every stage can be run again and does only what is missing.
"""

import logging
import shutil
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.config import CONFIGS
from service.catalog import embedded_directory
from training import (
    codec,
    discriminators,
    export,
    features,
    gpt,
    loop,
    s2mel,
    semantic,
    speaker,
    speakers,
    speech,
    teacher,
    vocoder,
)
from training.device import place
from training.workspace import MODEL_CONFIG, Workspace

FLOW_RUN = (
    "s2mel_distilled"  # which flow ships; `s2mel_latents` wants `cfg_rate: 1` and `learned_guidance: 0`
)
MODEL = "tiny-en"
SPEECH = speech.Plan(0, 16_000, speakers.make_speakers, seed=0)  # many voices
FAST_SPEECH = speech.Plan(16_000, 16_000, speakers.make_fast_speakers, seed=1)  # one voice, much text
UNSEEN_SPEAKERS = frozenset({"blend030", "blend031", "blend032", "blend033"})  # kept for measuring new voices
CHECKED_CLIPS = 100
logger = logging.getLogger(__name__)


def planned(voices: int, fast: int) -> list[int]:
    """The first so many clips of both parts of the corpus."""
    return [*range(SPEECH.first, SPEECH.first + voices), *range(FAST_SPEECH.first, FAST_SPEECH.first + fast)]


ALL_CLIPS = planned(SPEECH.count, FAST_SPEECH.count)
SEMANTIC_CLIPS = planned(4_000, 4_000)
FEATURE_CLIPS = planned(4_000, 2_000)  # the codec and the GPT's conditioning
SPEAKER_CLIPS = planned(10_000, 0)
MEL_CLIPS = planned(10_000, 2_000)  # vocoder and flow
LATENT_CLIPS = planned(6_000, 0)  # the flow's training with GPT latents


# --- corpus and caches ----------------------------------------------------------------------------


def make_speech(work: Workspace) -> None:
    """Speak the part of the corpus that has many voices."""
    speech.write_corpus(work.folder / "speech", SPEECH, teacher.Teachers(work.folder / "teacher"))


def make_fast_speech(work: Workspace) -> None:
    """Speak the part of the corpus that has one voice and much text."""
    speech.write_corpus(work.folder / "fast_speech", FAST_SPEECH, teacher.Teachers(work.folder / "teacher"))


def fill(
    work: Workspace, name: str, indices: Sequence[int], compute: Callable[[int], features.Arrays]
) -> None:
    """Fill a cache with what of `indices` has been spoken so far."""
    work.cache(name).fill(indices, work.clips, compute)


def make_bank(work: Workspace) -> None:
    """Filter banks and phone labels of every clip, for the semantic encoder."""
    extractor = semantic.make_extractor(work.config.semantic, work.config.reference.sample_rate)
    fill(work, "bank", ALL_CLIPS, lambda index: semantic.input_arrays(extractor, work.clips[index]))


def make_audio(work: Workspace) -> None:
    """Waves and mels at the model's rate, for vocoder and flow."""
    fill(work, "audio", MEL_CLIPS, lambda index: vocoder.audio_arrays(work.config.audio, work.clips[index]))


def make_fbank(work: Workspace) -> None:
    """Filter banks for the style encoder."""
    fill(work, "fbank", MEL_CLIPS, lambda index: speaker.fbank_arrays(work.config.speaker, work.clips[index]))


def make_styles(work: Workspace) -> None:
    """Style vectors, for the flow."""
    encoder = speaker.load_encoder(work.config.speaker, loop.averaged(work.run("speaker")))
    banks = work.cache("fbank").load()

    def compute(index: int) -> features.Arrays:
        with torch.inference_mode():
            return {"style": encoder(place(banks[index]["fbank"]).float()[None])[0].cpu().numpy()}

    work.cache("styles").fill(MEL_CLIPS, banks, compute)


def make_features(work: Workspace) -> None:
    """Normalized semantic features, for the codec and the GPT's conditioning."""
    banks = work.cache("bank").load(["bank"], FEATURE_CLIPS)
    work.cache("features").fill(
        FEATURE_CLIPS,
        banks,
        lambda index: {"features": work.normalized(banks[index]["bank"]).cpu().numpy().astype(np.float16)},
    )


def make_codes(work: Workspace) -> None:
    """Codes of every clip."""
    banks = work.cache("bank").load(["bank"])
    work.cache("codes").fill(
        ALL_CLIPS, banks, lambda index: {"codes": _quantized(work, work.normalized(banks[index]["bank"]))}
    )


def make_latents(work: Workspace) -> None:
    """The trained GPT's teacher-forced latents of the flow's clips."""
    model = gpt.load_gpt(work.config.gpt, work.config.semantic.hidden_size, loop.averaged(work.run("gpt")))

    def compute(index: int) -> features.Arrays:
        choices = work.conditions[work.clips[index].speaker]
        condition = place(choices[index % len(choices)]).float()[None]
        with torch.no_grad():
            voice = model.speaker_latents(condition), model.emotion_vector(condition)
        found = gpt.teacher_forced(model, [work.sample(index)], *voice)[0]
        return {"latents": found.cpu().numpy().astype(np.float16)}

    work.cache("latents").fill(LATENT_CLIPS, work.codes, compute)


# --- trained stages -------------------------------------------------------------------------------


def train_semantic(work: Workspace) -> None:
    """Train the semantic encoder."""
    run, options = work.settings("semantic", semantic.SemanticOptions)
    if loop.finished(work.run("semantic"), run):
        return
    banks = work.cache("bank").load(planned=SEMANTIC_CLIPS)
    stage = semantic.SemanticStage(work.config.semantic, options, {i: banks[i] for i in work.seen(banks)})
    loop.train(stage, run, work.run("semantic"))
    for name, some in (("trained", work.seen(banks)), ("unseen", work.unseen(banks))):
        accuracy = semantic.phone_accuracy(work.recognizer, [banks[i] for i in some[:CHECKED_CLIPS]])
        work.note("semantic", **{f"phone_accuracy_{name}_voices": accuracy})


def train_codec(work: Workspace) -> None:
    """Train the codec."""
    run, options = work.settings("codec", codec.CodecOptions)
    if loop.finished(work.run("codec"), run):
        return
    labels = work.cache("bank").load(["phones"], FEATURE_CLIPS)
    clips = {i: labels[i] | arrays for i, arrays in work.cache("features").load().items()}
    stage = codec.CodecStage(work.config.codec, options, {i: clips[i] for i in work.seen(clips)})
    loop.train(stage, run, work.run("codec"))
    for name, some in (("trained", work.seen(clips)), ("unseen", work.unseen(clips))):
        some = some[:CHECKED_CLIPS]
        codes = [_quantized(work, place(clips[i]["features"]).float()) for i in some]
        found = codec.information(codes, [clips[i]["phones"] for i in some], work.config.codec.codebook_size)
        work.note("codec", **{f"{key}_{name}_voices": value for key, value in found.items()})


def train_vocoder(work: Workspace) -> None:
    """Train the vocoder."""
    run, options = work.settings("vocoder", discriminators.AdversarialOptions)
    if loop.finished(work.run("vocoder"), run):
        return
    clips = work.cache("audio").load(planned=MEL_CLIPS)
    stage = discriminators.AdversarialStage(work.config, options, {i: clips[i] for i in work.seen(clips)})
    loop.train(stage, run, work.run("vocoder"))


def train_speaker(work: Workspace) -> None:
    """Train the style encoder."""
    run, options = work.settings("speaker", speaker.SpeakerOptions)
    if loop.finished(work.run("speaker"), run):
        return
    banks = work.cache("fbank").load(planned=SPEAKER_CLIPS)
    everyone = [voice for plan in (SPEECH, FAST_SPEECH) for voice in plan.speakers(plan.seed)]
    stage = speaker.SpeakerStage(
        work.config.speaker,
        options,
        {i: banks[i] for i in work.seen(banks)},
        work.speakers(banks),
        {voice.name: voice.traits for voice in everyone},
    )
    encoder = speaker.load_encoder(work.config.speaker, loop.train(stage, run, work.run("speaker")))
    for name, some in (("trained", work.seen(banks)), ("unseen", work.unseen(banks))):
        some = some[:CHECKED_CLIPS]
        found = speaker.similarities(
            encoder, [banks[i]["fbank"] for i in some], list(work.speakers(some).values())
        )
        work.note("speaker", **{f"{key}_{name}_voices": value for key, value in found.items()})


def train_gpt(work: Workspace) -> None:
    """Train the GPT."""
    run, options = work.settings("gpt", gpt.GPTOptions)
    if loop.finished(work.run("gpt"), run):
        return
    samples = [work.sample(index) for index in work.seen(work.codes)]
    stage = gpt.GPTStage(work.config.gpt, work.config.semantic.hidden_size, options, samples, work.conditions)
    loop.train(stage, run, work.run("gpt"))


def train_s2mel(work: Workspace) -> None:
    """Train regulator and flow on codes alone; it needs no GPT."""
    _train_flow(work, "s2mel", work.cache("audio").load(["mel"]))


def train_s2mel_latents(work: Workspace) -> None:
    """Go on training regulator, latent projection and flow with the GPT's latents, from what `s2mel` reached."""
    clips = _clips_with_latents(work)
    fresh = not (work.run("s2mel_latents") / loop.CHECKPOINT).exists()
    _train_flow(work, "s2mel_latents", clips, loop.averaged(work.run("s2mel")) if fresh else None)


def train_s2mel_distilled(work: Workspace) -> None:
    """Teach the flow its guidance, so that it need not be asked twice a step."""
    run, options = work.settings("s2mel_distilled", s2mel.S2MelOptions)
    if loop.finished(work.run("s2mel_distilled"), run):
        return
    teacher = loop.averaged(work.run("s2mel_latents"))
    loop.train(
        s2mel.DistillationStage(work.config, options, *_flow_data(work, _clips_with_latents(work)), teacher),
        run,
        work.run("s2mel_distilled"),
    )


def export_model(work: Workspace) -> None:
    """Write the model that ships with the repository, and its configuration."""
    size = export.export(work, embedded_directory(MODEL), FLOW_RUN)
    shutil.copyfile(MODEL_CONFIG, CONFIGS / f"{MODEL}.yaml")
    logger.info("%s: %.1f MB", embedded_directory(MODEL), size / 1e6)


def _clips_with_latents(work: Workspace) -> dict[int, features.Arrays]:
    mels = work.cache("audio").load(["mel"])
    return {index: mels[index] | arrays for index, arrays in work.cache("latents").load().items()}


def _flow_data(work: Workspace, clips: dict[int, features.Arrays]) -> tuple:
    """What the flow's stages are trained on: clips with their codes, their speakers, styles and the codebook."""
    styles = work.styles()
    usable = [index for index in work.seen(clips) if index in work.codes and index in styles]
    clips = {index: clips[index] | work.codes[index] for index in usable}
    return clips, work.speakers(clips), styles, work.codebook


def _train_flow(
    work: Workspace, name: str, clips: dict[int, features.Arrays], start: dict[str, Tensor] | None = None
) -> None:
    run, options = work.settings(name, s2mel.S2MelOptions)
    if loop.finished(work.run(name), run):
        return
    stage = s2mel.S2MelStage(work.config, options, *_flow_data(work, clips))
    if start is not None:
        stage.module.load_state_dict(start)
    loop.train(stage, run, work.run(name))


def _quantized(work: Workspace, features: Tensor) -> np.ndarray:
    """Codes int16 [T] of normalized features [T, D]."""
    with torch.inference_mode():
        return work.codec.quantize(features[None])[0][0].cpu().numpy().astype(np.int16)


STAGES = {
    "speech": make_speech,
    "fast_speech": make_fast_speech,
    "bank": make_bank,
    "semantic": train_semantic,
    "features": make_features,
    "codec": train_codec,
    "codes": make_codes,
    "audio": make_audio,
    "vocoder": train_vocoder,
    "fbank": make_fbank,
    "speaker": train_speaker,
    "styles": make_styles,
    "gpt": train_gpt,
    "s2mel": train_s2mel,
    "latents": make_latents,
    "s2mel_latents": train_s2mel_latents,
    "s2mel_distilled": train_s2mel_distilled,
    "export": export_model,
}
CPU_STAGES = frozenset({"speech", "fast_speech", "bank", "audio", "fbank"})  # which read and measure sound
