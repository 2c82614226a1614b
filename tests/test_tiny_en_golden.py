"""The embedded voice's numbers stay what they were, stage by stage. `python -m tests.test_tiny_en_golden` writes them
anew: right after a training, wrong to make this test pass."""

import dataclasses

import numpy as np
import pytest
import torch

from enhance.audio_input.read import read_audio
from pipeline.model import load_model
from pipeline.synthesize import Delivery, Synthesizer
from pipeline.text.normalize import TextNormalizer
from pipeline.text.prepare import prepare_text
from pipeline.text.tokenizers import make_tokenizer
from pipeline.voice import make_voice
from service.catalog import locate
from tests.conftest import GOLDEN, ROOT

FILE = GOLDEN / "tiny_en.npz"
TEXT = "Please leave your umbrella by the door."
TOLERANCE = 2e-3  # relative L2; the arrays are kept in half precision
STAGES = (
    "tokens",
    "prompt_codes",
    "style",
    "speaker_latents",
    "emotion_vector",
    "reference_mel",
    "codes",
    "latents",
    "mel",
    "wave",
)


def numbers() -> dict[str, np.ndarray]:
    """The output of every stage for one sentence in the example's voice, decoded without chance."""
    with locate("tiny-en") as source:
        model = load_model(source.directory, source.config, precision="exact")
        tokenizer = make_tokenizer(model.config, source.directory)
        (text,) = prepare_text(TEXT, TextNormalizer(phones=True), tokenizer)
    clip = read_audio(ROOT / "examples/speaker.wav")
    voice = make_voice(model, clip.samples, clip.sample_rate)
    options = dataclasses.replace(model.config.synthesis, temperature=0.0)
    delivery = Delivery(voice, voice.emotion_vector, options)
    synthesizer, generator = Synthesizer(model), torch.Generator().manual_seed(0)
    with torch.inference_mode():
        decoded = synthesizer.codes(text, delivery, generator)
        mel = synthesizer.mel(decoded, delivery, generator)
        wave = synthesizer.wave(mel)
    found = {
        "tokens": torch.tensor(text.token_ids),
        "prompt_codes": voice.prompt_codes,
        "style": voice.style,
        "speaker_latents": voice.speaker_latents,
        "emotion_vector": voice.emotion_vector,
        "reference_mel": voice.reference_mel,
        "codes": decoded.codes,
        "latents": decoded.latents,
        "mel": mel,
        "wave": wave,
    }
    return {
        name: found[name].half().numpy() if found[name].is_floating_point() else found[name].numpy()
        for name in STAGES
    }


@pytest.fixture(scope="module")
def found() -> dict[str, np.ndarray]:
    return numbers()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_gives_its_golden_numbers(found, stage):
    with np.load(FILE) as golden:
        wanted = golden[stage]
    assert found[stage].shape == wanted.shape
    if wanted.dtype.kind == "i":
        assert (found[stage] == wanted).all()
    else:
        ours, wanted = found[stage].astype(np.float64), wanted.astype(np.float64)
        assert np.linalg.norm(ours - wanted) <= TOLERANCE * np.linalg.norm(wanted)


if __name__ == "__main__":
    np.savez_compressed(FILE, **numbers())
