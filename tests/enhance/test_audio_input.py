"""Reading audio files: every format against the samples it was made of, and what is said of a file."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from enhance.audio_input.read import AudioError, AudioLimits, read_audio
from pipeline.audio import resample

RATE = 44_100
SECONDS = 3

# file name -> (ffmpeg options, correlation with the original, sample rate that comes back)
LOSSLESS, LOSSY = 0.99999, 0.98
FORMATS = {
    "pcm16.wav": ("-c:a pcm_s16le", LOSSLESS, RATE),
    "pcm8.wav": ("-c:a pcm_u8", 0.999, RATE),
    "pcm24.wav": ("-c:a pcm_s24le", LOSSLESS, RATE),
    "float64.wav": ("-c:a pcm_f64le", LOSSLESS, RATE),
    "adpcm.wav": ("-c:a adpcm_ima_wav", 0.995, RATE),
    "ms-adpcm.wav": ("-c:a adpcm_ms", 0.995, RATE),
    "extensible.wav": ("-c:a pcm_s32le", LOSSLESS, RATE),
    "wave64.rf64": ("-c:a pcm_s16le -f wav -rf64 always", LOSSLESS, RATE),
    "sound.aiff": ("-c:a pcm_s16be", LOSSLESS, RATE),
    "sound.flac": ("-c:a flac", LOSSLESS, RATE),
    "sound.ogg": ("-c:a libvorbis -q:a 6", LOSSY, RATE),
    "sound.mp3": ("-c:a libmp3lame -b:a 192k", LOSSY, RATE),
    "untagged.mp3": ("-c:a libmp3lame -b:a 192k -write_xing 0 -id3v2_version 0", LOSSY, RATE),
    "sound.mp2": ("-c:a mp2 -b:a 256k", LOSSY, RATE),
    "index-last.m4a": ("-c:a aac -b:a 192k", LOSSY, RATE),
    "index-first.mp4": ("-c:a aac -b:a 192k -movflags +faststart", LOSSY, RATE),
    "fragments.mp4": ("-c:a aac -b:a 192k -movflags frag_keyframe+empty_moov", LOSSY, RATE),
    "lossless.m4a": ("-c:a alac", LOSSLESS, RATE),
    "sound.mov": ("-c:a pcm_s16le", LOSSLESS, RATE),
    "sound.aac": ("-c:a aac -b:a 192k", LOSSY, RATE),
    "sound.webm": ("-c:a libopus -b:a 128k", LOSSY, 48_000),
    "sound.opus": ("-c:a libopus -b:a 128k", LOSSY, 48_000),
    "vorbis.webm": ("-c:a libvorbis -q:a 6", LOSSY, RATE),
    "sound.mka": ("-c:a flac", LOSSLESS, RATE),
    "flac.ogg": ("-c:a flac", LOSSLESS, RATE),
    "sound.caf": ("-c:a pcm_s16be", LOSSLESS, RATE),
}


@pytest.fixture(scope="module")
def wave():
    """[T, 2]: a chirp left, its half right."""
    t = np.arange(SECONDS * RATE) / RATE
    chirp = 0.5 * np.sin(2 * np.pi * (200 * t + 300 * t**2))
    return np.stack([chirp, chirp / 2], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def folder(wave, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    soundfile.write(folder / "original.wav", wave, RATE, subtype="FLOAT")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", "original.wav"]
    for name, (options, _, _) in FORMATS.items():
        command += [*options.split(), name]
    subprocess.run(command, check=True, cwd=folder)
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_back_the_samples(name, folder, wave, tmp_path):
    _, least, rate = FORMATS[name]
    bare = tmp_path / "upload"  # without extension, as the server stores it
    shutil.copyfile(folder / name, bare)
    audio = read_audio(bare)
    assert (audio.sample_rate, audio.channels) == (rate, 2)
    assert audio.samples.dtype == torch.float32 and audio.samples.shape[0] == 1
    assert audio.samples.is_contiguous() and not audio.cut_off and audio.clipped_share == 0
    mono = resample(torch.from_numpy(wave.mean(axis=1))[None], RATE, rate)[0].numpy()
    assert audio.seconds == pytest.approx(SECONDS, abs=0.1)
    assert aligned_correlation(audio.samples[0].numpy(), mono) > least


def aligned_correlation(found: np.ndarray, made: np.ndarray) -> float:
    """Highest normalized correlation, over the delays that coders add."""
    size = 2 ** int(np.ceil(np.log2(len(found) + len(made))))
    product = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(made, size)), size)
    return product.max() / (np.linalg.norm(found) * np.linalg.norm(made))


def test_amr():
    # ffmpeg has no AMR encoder here: the file was made with sox, from flite speech
    audio = read_audio(Path(__file__).parent / "audio" / "speech.amr")
    assert (audio.sample_rate, audio.source_subtype) == (8_000, "amr_nb")
    assert audio.seconds == pytest.approx(5, abs=0.1)
    assert audio.samples.abs().max() > 0.1


def test_the_file_is_read_in_blocks_as_libsndfile_reads_it_at_once(folder):
    for name in ("sound.mp3", "sound.ogg", "sound.flac", "adpcm.wav"):
        whole, _ = soundfile.read(folder / name, dtype="float32")
        assert torch.equal(read_audio(folder / name).samples[0], torch.from_numpy(whole.mean(axis=1)))


def test_the_mean_of_the_channels(tmp_path):
    channels = np.random.default_rng(0).uniform(-1, 1, (8_000, 5)).astype(np.float32)
    soundfile.write(tmp_path / "five.wav", channels, 8_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "five.wav").samples[0], channels.mean(axis=1), atol=1e-6)


def test_clipping_is_counted_over_all_channels(tmp_path):
    channels = np.zeros((10_000, 2))
    channels[:100, 1] = -1
    channels[:50, 0] = 1
    soundfile.write(tmp_path / "clipped.wav", channels, RATE, subtype="PCM_16")
    assert read_audio(tmp_path / "clipped.wav").clipped_share == pytest.approx(150 / 20_000)


@pytest.mark.parametrize("name", ("pcm16.wav", "sound.webm"))
def test_a_file_cut_off_in_the_middle_says_so(name, folder, tmp_path):
    content = (folder / name).read_bytes()
    cut = tmp_path / name
    cut.write_bytes(content[: len(content) // 2])
    audio = read_audio(cut)
    assert audio.cut_off
    assert audio.declared_seconds == pytest.approx(SECONDS, abs=0.1)
    assert audio.seconds == pytest.approx(SECONDS / 2, abs=0.2)


LIMITS = {
    "MB": AudioLimits(max_bytes=1_000),
    "sample rate is 44100 Hz": AudioLimits(max_rate=44_099),
    "2 channels": AudioLimits(max_channels=1),
    "header says 3": AudioLimits(max_seconds=2.5),
    "samples per channel": AudioLimits(min_seconds=5),
    "samples reach 0.": AudioLimits(max_peak=0.4),
    "not decoded within 0 s": AudioLimits(decode_seconds=0),
}


@pytest.mark.parametrize("words", LIMITS)
@pytest.mark.parametrize("name", ("sound.flac", "index-last.m4a"))
def test_each_limit_is_held(name, words, folder):
    with pytest.raises(AudioError) as error:
        read_audio(folder / name, LIMITS[words])
    assert words in str(error.value)
    assert "allowed" in str(error.value) and "\n" not in str(error.value)


def test_a_decoder_that_wants_more_memory_is_stopped(folder):
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_audio(folder / "index-last.m4a", AudioLimits(decoder_bytes=30 * 2**20))


def test_without_ffmpeg_the_error_names_it(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert read_audio(folder / "sound.mp3").seconds == pytest.approx(SECONDS, abs=0.1)
    with pytest.raises(AudioError, match="ffprobe is not installed"):
        read_audio(folder / "index-last.m4a")


def test_no_descriptor_is_left_open(folder, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF\0\0\0\0WAVE")
    (tmp_path / "bad.mp4").write_bytes(b"\0\0\0\x10ftypisom")

    def read_all():
        for path in (
            folder / "sound.mp3",
            folder / "index-last.m4a",
            tmp_path / "bad.wav",
            tmp_path / "bad.mp4",
            tmp_path / "none",
            tmp_path,
        ):
            with contextlib.suppress(AudioError):
                read_audio(path)

    read_all()
    before = os.listdir("/proc/self/fd")
    read_all()
    assert os.listdir("/proc/self/fd") == before


def test_a_null_character_in_the_path_is_an_error():
    with pytest.raises(AudioError, match="null"):
        read_audio("a\0b")
