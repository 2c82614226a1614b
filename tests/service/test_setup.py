"""What `setup()` says when a model cannot be had."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.service.server import free_port

SETUP = """
import logging, time
from predict import Predictor
logging.disable(logging.CRITICAL)
start = time.monotonic()
try:
    Predictor().setup()
except ValueError as e:
    print(f"{time.monotonic() - start:.2f}")
    print(e)
"""


def setup(folder, **environment) -> tuple[float, str]:
    """Seconds until it failed, and the message."""
    done = subprocess.run(
        [sys.executable, "-c", SETUP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TMPDIR": str(folder)} | environment,
    )
    assert done.stdout, done.stderr
    seconds, _, message = done.stdout.partition("\n")
    return float(seconds), message


def test_no_network_and_no_weights(tmp_path):
    """The promise is 5 s; the bound here leaves room for a busy machine."""
    seconds, message = setup(
        tmp_path,
        INDEXTTS_MODEL="indextts2",
        INDEXTTS_WEIGHTS_DIR=str(tmp_path / "weights"),
        HF_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        INDEXTTS_WEIGHTS_URL="",
    )
    assert seconds < 15
    assert "gpt.pth" in message and str(tmp_path / "weights") in message
    assert (
        "INDEXTTS_WEIGHTS_URL" in message and "INDEXTTS_WEIGHTS_DIR" in message and "HF_ENDPOINT" in message
    )


@pytest.mark.parametrize("model, message", [("nope", "allowed: indextts2, mini"), ("tests", "config.yaml")])
def test_a_model_that_is_none(tmp_path, model, message):
    assert message in setup(tmp_path, INDEXTTS_MODEL=model)[1]
