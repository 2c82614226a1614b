"""Only the layers that are read are built: the same features as the whole model's hidden state."""

import pytest
import torch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline.conditioning.w2vbert import W2VBert
from pipeline.config import load_config
from pipeline.deterministic import deterministic_state, tone
from training.semantic import make_semantic_model


def test_last_state_of_the_cut_model_is_the_hidden_state_of_the_whole_one(mini_model):
    config = mini_model.config.semantic
    whole = Wav2Vec2BertModel(
        Wav2Vec2BertConfig(
            **(make_semantic_model(config).config.to_dict() | {"num_hidden_layers": config.hidden_layer + 2})
        )
    ).eval()
    whole.load_state_dict(deterministic_state({k: tuple(v.shape) for k, v in whole.state_dict().items()}))
    features, mask = mini_model.semantic.input_features(tone("semantic", 1.5, 16000)[0].numpy())
    with torch.inference_mode():
        expected = whole(features, attention_mask=mask, output_hidden_states=True).hidden_states[
            config.hidden_layer
        ]
        ours = mini_model.semantic.model(features, mask)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_the_published_model_has_the_keys_its_file_has():
    """773 keys at 24 layers, counted on the published architecture."""
    config = load_config("indextts2").semantic
    with torch.device("meta"):
        cut = W2VBert(config)
    per_layer = sum(key.startswith("encoder.layers.0.") for key in cut.state_dict())
    masked_spec_embed = 1  # which only training reads
    assert len(cut.state_dict()) + masked_spec_embed + (24 - config.hidden_layer) * per_layer == 773


@pytest.mark.parametrize("samples", [16000, 16160, 16320, 23999])
def test_input_features_are_those_of_the_extractor_it_was_trained_with(mini_model, samples):
    """With an odd number of frames too: the last pair is half padding, and is masked."""
    wave = tone("extract", 1.5, 16000)[0, :samples].numpy()
    extractor = SeamlessM4TFeatureExtractor(
        feature_size=80, num_mel_bins=80, sampling_rate=16000, padding_value=1.0, stride=2
    )
    expected = extractor(wave, sampling_rate=16000, return_tensors="pt")
    features, mask = mini_model.semantic.input_features(wave)
    assert torch.equal(mask, expected["attention_mask"].long())
    assert float((features - expected["input_features"]).norm() / expected["input_features"].norm()) < 2e-5


def test_features_come_at_fifty_a_second(mini_model):
    features = mini_model.semantic(tone("semantic", 2.0, 16000))
    assert features.shape == (1, 99, mini_model.config.semantic.hidden_size)
    assert torch.isfinite(features).all()
