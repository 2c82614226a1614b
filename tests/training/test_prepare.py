"""Preparation of a dataset: trimmed, leveled, its text as the service reads it."""

import json

import numpy as np
import pytest
import soundfile

from training import data, prepare

RATE = 16_000


def test_clips_come_out_trimmed_leveled_and_normalized(tmp_path):
    t = np.arange(2 * RATE) / RATE
    speech = np.sin(2 * np.pi * 200 * t) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))
    silence = 1e-4 * np.random.default_rng(0).standard_normal(RATE)
    for name, gain in (("loud.wav", 0.8), ("soft.wav", 0.02)):
        soundfile.write(tmp_path / name, np.concatenate([silence, gain * speech, silence]), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "m.jsonl").write_text(
        "\n".join(
            json.dumps({"audio": name, "text": "I have 2 dogs.", "speaker": "s"})
            for name in ("loud.wav", "silent.wav", "soft.wav")
        )
    )
    rejected = prepare.prepare(tmp_path / "m.jsonl", tmp_path / "out")
    assert [rejection.where for rejection in rejected] == ["silent.wav"]
    clips, broken = data.read_manifest(tmp_path / "out/manifest.jsonl")
    assert len(clips) == 2 and not broken
    levels = []
    for clip in clips:
        wave, rate = soundfile.read(clip.path)
        assert rate == RATE and len(wave) / rate == pytest.approx(2.0 + 2 * prepare.EDGE_SECONDS, abs=0.1)
        assert clip.text.lower().rstrip(".") == "i have two dogs"
        levels.append(np.sqrt(np.mean(wave**2)))
    assert levels[0] == pytest.approx(levels[1], rel=0.1) and levels[0] == pytest.approx(
        prepare.LEVEL, rel=0.3
    )


def test_a_dataset_without_usable_clips_stops(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"audio": "none.wav", "text": "x", "speaker": "s"}')
    with pytest.raises(ValueError, match=r"0 usable clips \(1 left out\), needed: 1"):
        prepare.prepare(tmp_path / "m.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
