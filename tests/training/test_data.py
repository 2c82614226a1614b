"""Hostile datasets: every bad file is named with its reason, the good ones stay."""

import json

import numpy as np
import pytest
import soundfile

from training import data

RATE = 16_000


def voice(seed: int, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (
        (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE)))
        .clip(-1, 1)
        .astype(np.float32)
    )


@pytest.fixture
def hostile(tmp_path):
    waves = {
        "good.wav": voice(1),
        "other.wav": voice(2),
        "copy.wav": voice(1),
        "silent.wav": np.zeros(RATE, np.float32),
        "clipped.wav": np.sign(voice(3)) * 1.0,
        "blink.wav": voice(4, 0.1),
    }
    for name, wave in waves.items():
        soundfile.write(tmp_path / name, wave, RATE)
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", RATE, 1) as file:
        for _ in range(60):
            file.write(np.full(60 * RATE, 0.1, np.float32))
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x00\x00")
    names = [*waves, "hour.wav", "broken.wav", "absent.wav"]
    lines = [json.dumps({"audio": name, "text": "Hello.", "speaker": "a"}) for name in names]
    lines += [
        json.dumps({"audio": "other.wav", "text": " ?! ", "speaker": "a"}),
        "{not json",
        '{"audio": "good.wav"}',
        "[1]",
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    return manifest


def test_each_bad_file_is_named_with_its_reason(hostile):
    usable, rejected = data.usable_clips(hostile)
    assert [clip.path.name for clip in usable] == ["good.wav", "other.wav"]
    reasons = {}
    for rejection in rejected:
        reasons.setdefault(rejection.where, rejection.reason)
    for name, words in {
        "copy.wav": "duplicates good.wav",
        "silent.wav": "is silent",
        "clipped.wav": "is clipped",
        "blink.wav": "0.3-40 s",
        "hour.wav": "0.3-40 s",
        "broken.wav": "audio file refused",
        "absent.wav": "audio file refused",
        "other.wav": "has no text",
        "line 11": "JSONDecodeError",
        "line 12": "KeyError",
        "line 13": "AttributeError",
    }.items():
        assert words in reasons[name], (name, reasons)
    assert len(rejected) == 11


def test_too_few_usable_clips_stop_with_the_count(hostile):
    with pytest.raises(ValueError, match=r"has 2 usable clips \(11 left out\), needed: 3"):
        data.usable_clips(hostile, minimum=3)


def test_missing_manifest(tmp_path):
    with pytest.raises(ValueError, match="cannot read the manifest"):
        data.usable_clips(tmp_path / "none.jsonl")


def test_phones_are_kept(tmp_path):
    (tmp_path / "m.jsonl").write_text(
        json.dumps({"audio": "a.wav", "text": "x", "speaker": "s", "phones": [["pau", 0.5]]})
    )
    clips, rejected = data.read_manifest(tmp_path / "m.jsonl")
    assert clips[0].phones == (("pau", 0.5),) and not rejected
