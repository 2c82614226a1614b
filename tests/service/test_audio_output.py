"""Files in every format and rate, as ffprobe and ffmpeg see them; loudness as ffmpeg measures it."""

import json
import math
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from enhance.audio_input.read import read_audio
from pipeline.audio import resample
from service.audio_output.encode import (
    FORMATS,
    OPUS_RATES,
    SAMPLE_RATES,
    OutputError,
    check_output,
    encode,
    output_rate,
)
from service.audio_output.loudness import PEAK_BLOCK, loudness, to_loudness, true_peak
from tests.conftest import ROOT

RATE = 22050
SEEN = {  # container and codec as ffprobe names them, samples of a codec frame
    "wav": ("wav", "pcm_s16le", 1),
    "flac": ("flac", "flac", 1),
    "mp3": ("mp3", "mp3", 1152),
    "ogg": ("ogg", "vorbis", 2048),
    "opus": ("ogg", "opus", 960),
}
EVERY = [(name, rate) for name, kind in FORMATS.items() for rate in kind.rates]
LOSSLESS, LOSSY = ("wav", "flac"), ("mp3", "ogg", "opus")


@pytest.fixture(scope="module")
def speech() -> Tensor:
    """[T] at RATE: 2.5 s of speech, with an odd number of samples."""
    audio = read_audio(ROOT / "examples/george.flac")
    return resample(audio.samples, audio.sample_rate, RATE)[0, :55_123]


def probe(path: Path) -> dict:
    entries = (
        "stream=codec_name,sample_rate,channels,duration:format=format_name,duration:format_tags:stream_tags"
    )
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def decode(path: Path) -> np.ndarray:
    """Samples as ffmpeg decodes them, at the file's own rate; anything it complains of fails the test."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    return np.frombuffer(done.stdout, "<f4")


def ffmpeg_loudness(path: Path) -> tuple[float, float]:
    """Integrated loudness in LUFS and true peak in dB, by ffmpeg's ebur128."""
    command = ["ffmpeg", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    said = said[said.rindex("Summary:") :]
    return float(re.search(r"I: +(-?[\d.]+) LUFS", said)[1]), float(
        re.search(r"Peak: +(-?[\d.]+) dBFS", said)[1]
    )


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_every_format_and_rate(tmp_path, speech, name, rate):
    encoded = encode(speech, RATE, tmp_path / "speech", format=name, sample_rate=rate)
    assert encoded.path == tmp_path / f"speech.{name}" and encoded.sample_rate == rate and encoded.notes == ()
    container, codec, frame = SEEN[name]
    whole = probe(encoded.path)
    (seen,) = whole["streams"]
    assert whole["format"]["format_name"] == container
    assert (seen["codec_name"], seen["channels"]) == (codec, 1)
    heard = 48000 if name == "opus" else rate
    assert int(seen["sample_rate"]) == heard

    seconds, decoded = len(speech) / RATE, decode(encoded.path)
    assert abs(len(decoded) / heard - seconds) <= (frame / heard if name == "ogg" else 1 / rate)
    # MP3: ffprobe counts the encoder's delay and padding too, which a player leaves out
    assert (
        0
        <= float(seen["duration"]) - seconds + 1 / rate
        <= (3.5 if name == "mp3" else 1) * (frame + 1) / heard
    )

    expected = resample(resample(speech, RATE, rate), rate, heard).numpy()
    length = min(len(decoded), len(expected))
    likeness = np.corrcoef(decoded[:length], expected[:length])[0, 1]
    late = np.corrcoef(decoded[8:length], expected[: length - 8])[0, 1]
    assert likeness > (0.9999 if name in LOSSLESS else 0.98) and likeness > late, (
        "neither distorted nor shifted"
    )


def test_lossless_files_hold_the_same_16_bits(tmp_path, speech):
    wav, flac = (
        soundfile.read(encode(speech, RATE, tmp_path / "a", format=name).path, dtype="int16")[0]
        for name in LOSSLESS
    )
    assert (wav == flac).all() and (wav == np.round(speech.numpy() * 32767)).all()
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"


@pytest.mark.parametrize("name", FORMATS)
def test_same_samples_same_bytes(tmp_path, speech, name):
    one, two = (
        encode(speech, RATE, tmp_path / stem, format=name, loudness=-20).path.read_bytes() for stem in "ab"
    )
    assert one == two
    assert encode(speech * 0.5, RATE, tmp_path / "c", format=name).path.read_bytes() != one


@pytest.mark.parametrize("name", FORMATS)
def test_files_tell_nothing_of_the_machine(tmp_path, speech, name):
    path = encode(speech, RATE, tmp_path / "secret", format=name).path
    assert b"secret" not in path.read_bytes() and not re.search(rb"Lav[fc]\d", path.read_bytes())
    seen = probe(path)
    tags = seen["format"].get("tags", {}) | seen["streams"][0].get("tags", {})
    assert set(tags) <= {"encoder"}


@pytest.mark.parametrize("rate", OPUS_RATES)
def test_opus_remembers_its_rate(tmp_path, speech, rate):
    data = encode(speech, RATE, tmp_path / "a", format="opus", sample_rate=rate).path.read_bytes()
    head = data.index(b"OpusHead")
    assert struct.unpack_from("<I", data, head + 12) == (rate,)


def test_own_reader_reads_every_format(tmp_path, speech):
    for name in FORMATS:
        audio = read_audio(encode(speech, RATE, tmp_path / "a", format=name).path)
        assert audio.seconds == pytest.approx(len(speech) / RATE, abs=0.05)


@pytest.mark.parametrize(
    ("name", "native", "expected"),
    [
        ("wav", 22050, 22050),
        ("mp3", 24000, 24000),
        ("opus", 22050, 24000),
        ("opus", 16000, 16000),
        ("opus", 44100, 48000),
        ("wav", 32000, 44100),
        ("wav", 96000, 48000),
    ],
)
def test_without_a_sample_rate_the_nearest_that_loses_nothing(name, native, expected):
    assert output_rate(name, None, native) == expected
    assert output_rate(name, 8000, native) == 8000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "aac"}, "output_format is 'aac'; allowed: wav, flac, mp3, ogg, opus"),
        ({"format": "x" * 1000}, "output_format is 'xxxxxxxxxxxxxxxxxxxx'; allowed"),
        ({"format": ["wav"]}, r"output_format is \"\['wav'\]\"; allowed"),
        ({"format": "../wav"}, r"output_format is '../wav'; allowed"),
        (
            {"format": "wav", "sample_rate": 11025},
            "sample_rate is 11025; allowed for wav: 8000, 16000, 22050, 24000, 44100, 48000",
        ),
        (
            {"format": "opus", "sample_rate": 22050},
            "sample_rate is 22050; allowed for opus: 8000, 16000, 24000, 48000",
        ),
        ({"format": "wav", "loudness": 0.0}, "loudness is 0; allowed: -40 to -8 LUFS"),
        ({"format": "wav", "loudness": math.nan}, "loudness is nan; allowed"),
        ({"format": "wav", "loudness": -math.inf}, "loudness is -inf; allowed"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_written(tmp_path, speech, options, message):
    with pytest.raises(OutputError, match=message) as caught:
        check_output(**options)
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=message):
        encode(speech, RATE, tmp_path / "a", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_no_samples_and_no_numbers_are_refused(tmp_path, name):
    with pytest.raises(OutputError, match="the wave is empty"):
        encode(torch.zeros(0), RATE, tmp_path / "a", format=name)
    for value in (math.nan, math.inf):
        with pytest.raises(OutputError, match="not finite"):
            encode(torch.tensor([0.0, value]), RATE, tmp_path / "a", format=name)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_lossless_formats_still_work(tmp_path, speech, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        OutputError, match="output_format mp3 needs ffmpeg, which is not installed; wav and flac do not"
    ):
        encode(speech, RATE, tmp_path / "a", format="mp3")
    assert encode(speech, RATE, tmp_path / "a", format="flac").path.stat().st_size > 10_000


def test_what_ffmpeg_says_comes_without_the_path(tmp_path, speech):
    with pytest.raises(
        OutputError, match=r"^the ogg file could not be encoded \(No such file or directory\)$"
    ):
        encode(speech, RATE, tmp_path / "missing" / "a", format="ogg")


@pytest.mark.parametrize("name", ["a b", "-y", "50%d", "a:b", "好"])
def test_any_folder_name_works(tmp_path, speech, name):
    (tmp_path / name).mkdir()
    assert encode(speech, RATE, tmp_path / name / name, format="mp3").path.stat().st_size > 1000


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("samples", [1, 2, 100])
def test_shortest_files(tmp_path, name, samples):
    decoded = decode(
        encode(torch.full((samples,), 0.5), RATE, tmp_path / "a", format=name, loudness=-16).path
    )
    assert len(decoded) <= 2048


@pytest.mark.parametrize("name", FORMATS)
def test_hot_speech_does_not_clip(tmp_path, speech, name):
    hot = speech / speech.abs().max() * 1.3  # over full scale, as resampling and models may leave it
    decoded = decode(encode(hot, RATE, tmp_path / "a", format=name).path)
    assert np.abs(decoded).max() <= 1.0
    assert (np.abs(decoded) > 0.999).sum() <= 2, "scaled, not cut off"


def test_samples_are_not_changed_for_the_caller(tmp_path, speech):
    before = speech.clone()
    encode(speech, RATE, tmp_path / "a", format="wav", sample_rate=48000, loudness=-14)
    assert torch.equal(speech, before)


@pytest.mark.parametrize(
    ("name", "rate", "target"),
    [
        ("wav", 22050, -30.0),
        ("wav", 8000, -23.0),
        ("flac", 48000, -19.0),
        ("mp3", 44100, -23.0),
        ("ogg", 22050, -20.0),
        ("opus", 24000, -19.0),
    ],
)
def test_loudness_is_what_ffmpeg_measures(tmp_path, speech, name, rate, target):
    encoded = encode(speech, RATE, tmp_path / "a", format=name, sample_rate=rate, loudness=target)
    measured, peak = ffmpeg_loudness(encoded.path)
    assert encoded.loudness == target and encoded.notes == ()
    assert measured == pytest.approx(target, abs=0.3) and peak < -0.5


def test_a_target_out_of_reach_stops_at_the_peak_and_is_told(tmp_path, speech):
    encoded = encode(speech, RATE, tmp_path / "a", format="wav", loudness=-8)
    measured, peak = ffmpeg_loudness(encoded.path)
    assert encoded.loudness == pytest.approx(measured, abs=0.3) and measured < -9
    assert peak == pytest.approx(-1.0, abs=0.15)
    assert re.fullmatch(
        r"the loudness is -1\d\.\d LUFS instead of -8: more would put its peaks over -1 dB", *encoded.notes
    )


def test_noise_is_not_raised_without_end(speech):
    leveled = to_loudness(speech * 10**-2.2, RATE, -16)
    assert leveled.note.endswith("the gain is at most 30 dB")
    assert float(leveled.wave.abs().max() / (speech * 10**-2.2).abs().max()) == pytest.approx(10**1.5)


@pytest.mark.parametrize("wave", [torch.zeros(RATE), torch.zeros(10), torch.full((RATE,), 1e-6)])
def test_silence_has_no_loudness_and_stays(wave):
    leveled = to_loudness(wave, RATE, -16)
    assert leveled.wave is wave and leveled.loudness is None and "too quiet" in leveled.note


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3, 0.39])
def test_what_is_too_short_is_measured_as_if_it_went_on(seconds):
    time = torch.arange(4 * RATE) / RATE
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 * time)
    assert loudness(tone[: round(seconds * RATE)], RATE) == pytest.approx(loudness(tone, RATE), abs=0.5)
    leveled = to_loudness(tone[: round(seconds * RATE)], RATE, -16)
    assert len(leveled.wave) == round(seconds * RATE) and leveled.loudness == pytest.approx(-16)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_loudness_of_the_standards_tone(rate):
    """BS.1770: 997 Hz of full scale in one channel is -3.01 LUFS."""
    tone = torch.sin(2 * torch.pi * 997 * torch.arange(2 * rate, dtype=torch.float64) / rate).float()
    assert loudness(tone, rate) == pytest.approx(-3.01, abs=0.2)


def test_true_peak_lies_between_the_samples():
    time = torch.arange(PEAK_BLOCK + 5000, dtype=torch.float64)
    quarter = torch.sin(torch.pi / 2 * time + torch.pi / 4).float()  # every sample at 0.707
    assert float(quarter.abs().max()) == pytest.approx(0.7071, abs=1e-3)
    middle = torch.hann_window(len(quarter)) * quarter
    assert true_peak(middle, 48000) == pytest.approx(1.0, abs=0.01)


def test_true_peak_in_blocks_is_that_of_the_whole(speech):
    long = speech.repeat(20)[: PEAK_BLOCK + 500]
    long[PEAK_BLOCK - 1 : PEAK_BLOCK + 1] = 0.9  # across the border of two blocks
    whole = float(resample(long, RATE, 4 * RATE).abs().max())
    assert true_peak(long, RATE) == pytest.approx(whole, rel=1e-6)
