"""What `setup()` says when a model cannot be had."""

import pytest

from predict import Predictor
from tests.commands import as_started
from tests.conftest import ROOT
from tests.service.server import free_port


def refusal(folder, **environment: str) -> str:
    """The message with which `setup()` fails."""
    with as_started(ROOT, {"TMPDIR": str(folder)} | environment), pytest.raises(ValueError) as caught:
        Predictor().setup()
    return str(caught.value)


def test_no_network_and_no_weights(tmp_path):
    message = refusal(
        tmp_path,
        INDEXTTS_MODEL="indextts2",
        INDEXTTS_WEIGHTS_DIR=str(tmp_path / "weights"),
        HF_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        INDEXTTS_WEIGHTS_URL="",
    )
    assert "gpt.pth" in message and str(tmp_path / "weights") in message
    assert (
        "INDEXTTS_WEIGHTS_URL" in message and "INDEXTTS_WEIGHTS_DIR" in message and "HF_ENDPOINT" in message
    )


@pytest.mark.parametrize(
    "model, message",
    [("nope", "allowed: indextts2, indextts2.5, mini, mini25, tiny-en"), ("tests", "config.yaml")],
)
def test_a_model_that_is_none(tmp_path, model, message):
    assert message in refusal(tmp_path, INDEXTTS_MODEL=model)
