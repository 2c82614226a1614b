"""Recordings to clips: what is refused and why, cutting, going on where it was left."""

import numpy as np
import pytest
import soundfile
import torch

from finetune.clips import MAX_SECONDS, MIN_SECONDS, OUTCOMES, Preparation, cut, prepare_clips
from finetune.dataset import Recording
from tests.conftest import ROOT

RATE = 22050
PREPARATION = Preparation(RATE, None, True)


def recording(path, text=None) -> Recording:
    return Recording(path, path.name, text)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(ROOT / "examples/george.flac", dtype="float32")[0]


def test_clips_are_leveled_trimmed_and_keep_their_text(tmp_path, speech):
    _, rate = soundfile.read(ROOT / "examples/george.flac")
    padded = np.concatenate([np.zeros(rate), 0.05 * speech[: 4 * rate], np.zeros(rate)])
    soundfile.write(tmp_path / "a.wav", padded, rate)
    (clip,), refusals = prepare_clips([recording(tmp_path / "a.wav", "Hello.")], tmp_path, PREPARATION)
    samples, found = soundfile.read(tmp_path / clip.file)
    assert found == RATE and not refusals and clip.text == "Hello."
    assert 3.0 < clip.seconds < 4.5 and clip.seconds == pytest.approx(len(samples) / RATE, abs=1e-3)
    assert np.abs(samples).max() > 0.2


def test_what_cannot_be_used_is_told_with_its_reason(tmp_path, speech):
    _, rate = soundfile.read(ROOT / "examples/george.flac")
    soundfile.write(tmp_path / "good.wav", speech, rate)
    soundfile.write(tmp_path / "double.flac", speech, rate)
    soundfile.write(tmp_path / "silent.wav", np.zeros(3 * rate), rate)
    soundfile.write(tmp_path / "short.wav", speech[: rate // 2], rate)
    soundfile.write(tmp_path / "clipped.wav", np.clip(20 * speech, -1, 1), rate)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    names = ("good.wav", "double.flac", "silent.wav", "short.wav", "clipped.wav", "text.wav", "empty.wav")
    clips, refusals = prepare_clips([recording(tmp_path / name) for name in names], tmp_path, PREPARATION)
    assert {clip.source for clip in clips} == {"good.wav"}
    told = {refusal.source: refusal.reason for refusal in refusals}
    for name, part in {
        "double.flac": "has the samples of good.wav",
        "silent.wav": "is silent",
        "short.wav": "needed: 1 s",
        "clipped.wav": "is clipped",
        "text.wav": "no audio format",
        "empty.wav": "refused",
    }.items():
        assert part in told[name], told


def test_a_long_recording_is_cut_at_its_silences(speech):
    long = torch.zeros(1, 40 * RATE)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, 40, 2):  # a second and a half of sound, half a second of silence
        end = start * RATE + int(1.5 * RATE)
        long[0, start * RATE : end] = 0.1 * torch.randn(end - start * RATE, generator=generator)
    pieces = list(cut(long, RATE))
    assert torch.equal(torch.cat(pieces, dim=1), long)
    assert all(MIN_SECONDS <= piece.shape[1] / RATE <= MAX_SECONDS for piece in pieces) and len(pieces) >= 3
    for piece in pieces[:-1]:
        assert piece[0, -50:].abs().max() == 0


def test_the_text_of_a_cut_recording_is_not_guessed(tmp_path, speech):
    _, rate = soundfile.read(ROOT / "examples/george.flac")
    soundfile.write(tmp_path / "long.wav", np.tile(speech, 4)[: 30 * rate], rate)
    clips, refusals = prepare_clips([recording(tmp_path / "long.wav", "Long text.")], tmp_path, PREPARATION)
    assert len(clips) >= 2 and all(clip.text is None for clip in clips)
    assert "which of its text is in which part is not known" in refusals[0].reason


def test_it_goes_on_where_it_was_left(tmp_path, pieces):
    recordings = [recording(path) for path in pieces]
    whole = prepare_clips(recordings, tmp_path / "whole", PREPARATION)
    prepare_clips(recordings[:2], tmp_path / "parts", PREPARATION)
    log = tmp_path / "parts" / OUTCOMES
    log.write_text(log.read_text() + '{"name": "cut of')
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts/clips").iterdir()}
    with log.open("a") as file:
        file.write("\n")
    assert prepare_clips(recordings, tmp_path / "parts", PREPARATION) == whole
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
