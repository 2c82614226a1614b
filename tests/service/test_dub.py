"""A track for subtitles: cues on time, pressed where they must be, told where they do not fit."""

import importlib.util
import json

import pytest
import soundfile
import torch

from service.dub import Cue, make_track, read_cues
from service.request import Request
from service.service import Service
from service.settings import Settings
from tests.conftest import ROOT

SRT = """1
00:00:00,500 --> 00:00:05,500
Hello <i>there</i>.

2
00:00:06,000 --> 00:00:06,100
This one is far too long for a tenth of a second.

3
00:00:12,000 --> 00:00:13,000
...
"""
QUICK = dict(max_mel_tokens=60, diffusion_steps=1, num_beams=1, seed=7)
SPEAKER = ROOT / "examples/speaker.wav"


@pytest.fixture(scope="module")
def service():
    return Service(Settings.read(model="tiny-en"))


@pytest.fixture(scope="module")
def natural(service, tmp_path_factory) -> float:
    """Seconds of "Hello there." as it comes."""
    result = service.run(Request("Hello there.", SPEAKER, **QUICK), tmp_path_factory.mktemp("natural"))
    return soundfile.info(result.path).duration


def test_cues_are_read_in_order_without_markup(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text(SRT)
    assert read_cues(path)[0] == Cue(0.5, 5.5, "Hello there.")
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\n00:02.000 --> 00:03.000\nTwo.\n\n00:01.000 --> 00:02.000\nOne,\none.\n")
    assert read_cues(path) == [Cue(1, 2, "One, one."), Cue(2, 3, "Two.")]


@pytest.mark.parametrize(
    "content", [b"", b"no subtitles", b"\xff\xfe\x00", b"1\n00:00:02,000 --> 00:00:01,000\nBack.\n"]
)
def test_what_are_no_subtitles_is_a_line(tmp_path, content):
    path = tmp_path / "x.srt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="subtitles 'x.srt'|cue 1 is from 2 to 1 s") as refused:
        read_cues(path)
    assert "\n" not in str(refused.value)


def test_every_cue_starts_on_time_and_fits_or_is_told(service, natural):
    cues = [
        Cue(0.5, 5.5, "Hello there."),
        Cue(6, 6 + 0.8 * natural, "Hello there."),
        Cue(9, 9.1, "Hello there."),
    ]
    track, rate, told = make_track(service.run, [*cues, Cue(20, 21, "...")], Request("x", SPEAKER, **QUICK))
    assert [dubbed.problem is None for dubbed in told] == [True, True, False, False]
    assert told[0].seconds == pytest.approx(natural) and told[1].seconds == pytest.approx(
        0.8 * natural, abs=1e-4
    )
    assert "at its fastest, has 0.10 s" in told[2].problem and "nothing to read aloud" in told[3].problem
    assert len(track) == 21 * rate
    for dubbed in told[:3]:
        start, end = round(dubbed.cue.start * rate), round((dubbed.cue.start + dubbed.seconds) * rate)
        assert not track[max(0, start - rate // 4) : start].any() and not track[end : end + rate // 4].any()
        assert torch.count_nonzero(track[start:end]) > (end - start) / 2


def test_the_command(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("dub_command", ROOT / "script/lib/dub_command.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    (tmp_path / "a.srt").write_text(SRT)
    arguments = [str(tmp_path / "a.srt"), "--speaker", str(SPEAKER), "--model", "tiny-en"]
    arguments += ["-o", str(tmp_path / "out.flac"), "--report", str(tmp_path / "report.json")]
    for pair in ("diffusion_steps=1", "max_mel_tokens=60", "sample_rate=16000"):
        arguments += ["-i", pair]
    assert command.main(arguments) == 2
    info, told = soundfile.info(tmp_path / "out.flac"), json.loads((tmp_path / "report.json").read_text())
    assert info.samplerate == 16000 and info.duration == pytest.approx(13, abs=1e-3) and len(told) == 3
    assert "1 of 3 cues fit" in capsys.readouterr().err
    for wrong, message in (
        (["-i", "speed=fast"], "speed is 'fast', not a number"),
        (["-i", "text=x"], "expected NAME=VALUE"),
        (["-i", "nothing=1"], "unknown input nothing"),
        (["-o", "out.txt"], "-o is 'out.txt'"),
    ):
        assert command.main([*arguments, *wrong]) == 1 and message in capsys.readouterr().err
