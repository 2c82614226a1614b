"""Only the layers that are read are built: the same features as the whole model's hidden state."""

import torch
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from pipeline.conditioning.semantic import make_semantic_model
from pipeline.config import load_config
from pipeline.deterministic import deterministic_state, tone


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
        ours = mini_model.semantic.model(features, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(ours, expected)


def test_the_published_model_has_the_keys_its_file_has():
    """773 keys at 24 layers, counted on the published architecture."""
    config = load_config("indextts2").semantic
    with torch.device("meta"):
        cut = make_semantic_model(config)
    per_layer = sum(key.startswith("encoder.layers.0.") for key in cut.state_dict())
    assert len(cut.state_dict()) + (24 - config.hidden_layer) * per_layer == 773


def test_features_come_at_fifty_a_second(mini_model):
    features = mini_model.semantic(tone("semantic", 2.0, 16000))
    assert features.shape == (1, 99, mini_model.config.semantic.hidden_size)
    assert torch.isfinite(features).all()
