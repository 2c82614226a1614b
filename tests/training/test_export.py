"""What training saves is a model that the service loads strictly and that speaks."""

import json

import numpy as np
import pytest
import torch

from pipeline.checkpoints import CHECKPOINTS
from pipeline.deterministic import tone
from pipeline.gpt.model import UnifiedVoice
from pipeline.model import load_model
from pipeline.state_dict import CheckpointError
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import prepare_text
from pipeline.timing import Stopwatch, Watch
from pipeline.vocoder.bigvgan import BigVGAN
from pipeline.voice import make_voice
from training import codec, discriminators, export, features, loop, s2mel, semantic, speaker
from training.fused import fuse
from training.initialize import initialize
from training.workspace import Workspace

CLIPS = 40


@pytest.fixture
def work(tmp_path, small_config, rng) -> Workspace:
    """A work folder with every stage saved after no training."""
    config = small_config
    modules = {
        "semantic": semantic.PhoneRecognizer(config.semantic, 0.0),
        "codec": codec.CodecTrainer(config.codec, 0),
        "speaker": speaker.SpeakerClassifier(config.speaker, 3, 3),
        "s2mel": initialize(s2mel.S2Mel(config), 0),
        "gpt": initialize(UnifiedVoice(config.gpt, config.semantic.hidden_size, with_text_head=True), 0),
        "vocoder": discriminators.Adversaries(
            fuse(BigVGAN(config.vocoder)), discriminators.Discriminators((8,), (4,))
        ),
    }
    work = Workspace(tmp_path, config, frozenset())
    for name, module in modules.items():
        work.run(name).mkdir(parents=True)
        loop.save(
            work.run(name), 1, module, torch.optim.AdamW(module.parameters()), loop.Average(module, 0.9)
        )
    lines = [
        json.dumps({"index": i, "audio": f"{i}.wav", "text": "Hello.", "speaker": "a"}) for i in range(CLIPS)
    ]
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech/manifest.jsonl").write_text("\n".join(lines))
    for name, shape in (
        ("bank", (30, 320)),
        ("features", (export.MATRIX_FRAMES, config.semantic.hidden_size)),
    ):
        work.cache(name).fill(
            range(CLIPS),
            range(CLIPS),
            lambda index, name=name, shape=shape: {name: rng.standard_normal(shape).astype(np.float16)},
        )
    work.cache("styles").fill(
        range(CLIPS),
        range(CLIPS),
        lambda index: {"style": rng.standard_normal(config.speaker.style_dim).astype(np.float32)},
    )
    assert work.tokenizer.vocabulary_size == config.gpt.number_text_tokens
    return work


def test_an_exported_model_loads_and_speaks(work, tmp_path):
    directory = tmp_path / "model"
    size = export.export(work, directory, "s2mel")
    assert size == sum(path.stat().st_size for path in directory.rglob("*.safetensors"))
    model = load_model(directory, work.config)
    voice = make_voice(model, tone("voice", 2.0, 16_000), 16_000)
    (text,) = prepare_text("Hello there.", TextNormalizer(), work.tokenizer)
    options = work.config.synthesis
    delivery = Delivery(voice, voice.emotion_vector, options)
    segment = Synthesizer(model).segment(text, delivery, 0, Watch(Stopwatch(model.device)))
    hop, per_code = work.config.audio.hop_length, work.config.s2mel.regulator.frames_per_code
    assert len(segment.wave) == int(per_code * segment.codes) * hop


def test_weights_come_back_as_trained(work, tmp_path):
    export.export(work, tmp_path / "model", "s2mel")
    model = load_model(tmp_path / "model", work.config, precision="exact")
    trained = loop.averaged(work.run("gpt"))
    torch.testing.assert_close(model.gpt.mel_embedding.weight, trained["mel_embedding.weight"].half().float())
    torch.testing.assert_close(model.semantic.mean, work.statistics["mean"].half().float())


def test_an_untrained_stage_is_named(work, tmp_path):
    (work.run("vocoder") / loop.CHECKPOINT).unlink()
    with pytest.raises(ValueError, match="vocoder has no checkpoint"):
        export.export(work, tmp_path / "model", "s2mel")


def test_another_configuration_is_refused(work, tmp_path, small_config):
    export.export(work, tmp_path / "model", "s2mel")
    path = tmp_path / "model" / CHECKPOINTS["vocoder"].file
    path.with_suffix(".safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "model", small_config)


def test_a_cache_shard_that_was_cut_off_is_made_again(tmp_path):
    cache = features.Cache(tmp_path)
    made = []

    def compute(index: int):
        made.append(index)
        if len(made) == 3:
            raise KeyboardInterrupt
        return {"x": np.full(2, index)}

    with pytest.raises(KeyboardInterrupt):
        cache.fill(range(5), range(5), compute)
    cache.fill(range(5), range(5), compute)
    cache.fill(range(5), range(5), compute)
    assert made == [0, 1, 2, 0, 1, 2, 3, 4]
    assert [arrays["x"][0] for _, arrays in sorted(cache.load(["x"]).items())] == [0, 1, 2, 3, 4]


def test_a_cache_shard_waits_for_its_clips(tmp_path):
    cache, size = features.Cache(tmp_path), features.CLIPS_PER_SHARD
    planned = range(2 * size)
    cache.fill(planned, range(size + 3), lambda index: {"x": np.full(1, index)})
    assert sorted(cache.load()) == [*range(size)]
    assert sorted(cache.load(planned=[3, 7, size + 1])) == [3, 7]
    cache.fill(planned, planned, lambda index: {"x": np.full(1, index)})
    assert sorted(cache.load()) == [*planned]


def test_an_empty_cache_is_named(tmp_path):
    with pytest.raises(ValueError, match="feature cache .* is empty"):
        features.Cache(tmp_path / "none").load()
