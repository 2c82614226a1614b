"""Every stage's settings, those for a GPU too, are what its stage reads."""

import pytest

from training import codec, discriminators, gpt, s2mel, semantic, speaker
from training.workspace import CONFIGS, Workspace

OPTIONS = {
    "semantic": semantic.SemanticOptions,
    "codec": codec.CodecOptions,
    "speaker": speaker.SpeakerOptions,
    "vocoder": discriminators.AdversarialOptions,
    "gpt": gpt.GPTOptions,
    "s2mel": s2mel.S2MelOptions,
    "s2mel_latents": s2mel.S2MelOptions,
    "s2mel_distilled": s2mel.S2MelOptions,
}


@pytest.mark.parametrize("stage", OPTIONS)
def test_settings_are_read(small_config, tmp_path, stage):
    ours = Workspace(tmp_path, small_config, frozenset()).settings(stage, OPTIONS[stage])
    gpus = Workspace(tmp_path, small_config, frozenset(), (CONFIGS / "gpu", CONFIGS)).settings(
        stage, OPTIONS[stage]
    )
    assert ours[0].seed == gpus[0].seed and ours != gpus


def test_a_stage_without_settings_of_its_own_has_the_usual_ones(small_config, tmp_path):
    usual = Workspace(tmp_path, small_config, frozenset()).settings("gpt", gpt.GPTOptions)
    assert (
        Workspace(tmp_path, small_config, frozenset(), (tmp_path, CONFIGS)).settings("gpt", gpt.GPTOptions)
        == usual
    )
