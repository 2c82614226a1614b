"""Files as recorders, pipes, phones and editors leave them: each is read right or refused in one clear line.

Made by hand (struct) or by ffmpeg, in one folder, once.
"""

import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from enhance.audio_input.read import AudioError, AudioLimits, read_audio
from enhance.report import judge
from tests.enhance.hostile_audio import wav
from tests.enhance.material import RATE, mix, speech, talk, white

SECONDS = 2
PATIENT = AudioLimits(decode_seconds=60)  # what is tested is not how busy the machine is
CLIP = (speech("slt_1")[0, : SECONDS * RATE].numpy() * 32767).astype("<i2")
WAVE = CLIP.astype(np.float32) / 32768
PCM = CLIP.tobytes()
FORM = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def chunk(name: bytes, body: bytes, pad: bool = True) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2 if pad else 0)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if size is None else size) + body


def lengths(whole: int | None, data: int) -> bytes:
    """A WAV whose two length fields say so; None: the truth."""
    return riff(chunk(b"fmt ", FORM), b"data" + struct.pack("<I", data) + PCM, size=whole)


def rf64(magic: bytes) -> bytes:
    sizes = struct.pack("<QQQI", len(PCM) + 72, len(PCM), len(CLIP), 0)
    data = b"data\xff\xff\xff\xff" + PCM
    return riff(chunk(b"ds64", sizes), chunk(b"fmt ", FORM), data, magic=magic, size=0xFFFFFFFF)


def extensible(body: bytes, bits: int, kind: int) -> bytes:
    guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
    align = bits // 8
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, RATE * align, align, bits, 22, bits, 4) + guid
    return riff(chunk(b"fmt ", form), chunk(b"data", body))


def rifx() -> bytes:
    form = struct.pack(">HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVEfmt " + struct.pack(">I", 16) + form + b"data" + struct.pack(">I", len(PCM))
    body += CLIP.astype(">i2").tobytes()
    return b"RIFX" + struct.pack(">I", len(body)) + body


def packed24(samples: np.ndarray) -> bytes:
    return (samples.astype("<i4") << 8).view("u1").reshape(-1, 4)[:, :3].tobytes()


def stereo(left: np.ndarray, right: np.ndarray) -> bytes:
    return wav(np.stack([left, right], axis=1).astype("<i2").tobytes(), rate=RATE, channels=2)


@dataclass(frozen=True)
class Case:
    """content: the file's; samples: what must come back; note: in what is said; tolerance: of a sample."""

    content: bytes
    samples: np.ndarray = field(default_factory=lambda: WAVE)
    note: str = ""
    tolerance: float = 0.0
    rate: int = RATE


FMT, DATA = chunk(b"fmt ", FORM), chunk(b"data", PCM)
PLAIN = riff(FMT, DATA)
EIGHT_BIT = ((CLIP >> 8) + 128).astype("u1").tobytes()[:-1]  # an odd number of bytes
EIGHT_FORM = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, RATE, 1, 8))
EIGHT = (np.frombuffer(EIGHT_BIT, "u1").astype(np.float32) - 128) / 128
INFO = b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
TWICE = np.concatenate([WAVE, WAVE])

WAVS = {
    # lengths
    "length 0, the whole known": Case(lengths(None, 0)),
    "both lengths 0": Case(lengths(0, 0)),
    "length 0, the whole unknown": Case(lengths(0xFFFFFFFF, 0)),
    "0x7FFFFFFF": Case(lengths(0x7FFFFFFF, 0x7FFFFFFF)),
    "0x7FFFFFFF less the header": Case(lengths(0x7FFFFFFF, 0x7FFFFFFF - 36)),
    "2000000000": Case(lengths(2_000_000_036, 2_000_000_000)),
    "0xFFFFFFFF, as ffmpeg and curl leave it": Case(lengths(0xFFFFFFFF, 0xFFFFFFFF)),
    "0xFFFFFFFF less the header": Case(lengths(0xFFFFFFFF, 0xFFFFFFFF - 36)),
    "length a lie of 100 MB": Case(lengths(100_000_036, 100_000_000), note="all of them are read"),
    "length a lie of 700 s": Case(lengths(None, 700 * 2 * RATE), note="all of them are read"),
    "length a lie of 1000 bytes": Case(lengths(None, 1000), note=f"{len(PCM)} are there"),
    "both lengths too short": Case(
        lengths(10_036, 10_000), WAVE[:5000], "54000 more bytes, which are not read"
    ),
    # chunks
    "LIST of odd length": Case(riff(FMT, chunk(b"LIST", INFO + b"x"), DATA)),
    "LIST of odd length without padding": Case(riff(FMT, chunk(b"LIST", INFO + b"x", pad=False), DATA)),
    "an unknown odd chunk without padding": Case(riff(FMT, chunk(b"Abcd", b"x" * 77, pad=False), DATA)),
    "two odd chunks without padding": Case(
        riff(FMT, chunk(b"bext", b"x" * 603, pad=False), chunk(b"LIST", INFO + b"x", pad=False), DATA)
    ),
    "JUNK, bext and a large iXML first": Case(
        riff(chunk(b"JUNK", bytes(28)), chunk(b"bext", bytes(602)), FMT, chunk(b"iXML", b" " * 70_000), DATA)
    ),
    "chunks behind": Case(riff(FMT, DATA, chunk(b"LIST", INFO), chunk(b"id3 ", b"x" * 5001))),
    "odd samples, not padded, LIST behind": Case(
        riff(EIGHT_FORM, chunk(b"data", EIGHT_BIT, pad=False), chunk(b"LIST", INFO)), EIGHT
    ),
    "samples before the format": Case(riff(DATA, FMT)),
    "an MP3 tag behind": Case(PLAIN + b"TAG" + bytes(125)),
    # joined
    "two joined": Case(PLAIN * 2, TWICE),
    "five joined": Case(PLAIN * 5, np.tile(WAVE, 5)),
    "two joined, each with LIST around": Case(
        riff(chunk(b"LIST", INFO), FMT, DATA, chunk(b"LIST", INFO)) * 2, TWICE
    ),
    "two joined that were streamed": Case(lengths(0xFFFFFFFF, 0xFFFFFFFF) * 2, TWICE),
    "two joined with length 0": Case(lengths(0, 0) * 2, TWICE),
    "two joined, odd and not padded": Case(
        riff(EIGHT_FORM, chunk(b"data", EIGHT_BIT, pad=False)) * 2, np.concatenate([EIGHT, EIGHT])
    ),
    "joined, the second at another rate": Case(
        PLAIN + wav(PCM, rate=22_050), note="1 cannot be read or have another"
    ),
    "joined, the second damaged": Case(
        PLAIN + riff(chunk(b"fmt ", b"?" * 16), DATA), note="1 cannot be read"
    ),
    # encodings
    "RF64": Case(rf64(b"RF64")),
    "BW64": Case(rf64(b"BW64")),
    "RIFX, big-endian": Case(rifx()),
    "24 bits in WAVE_FORMAT_EXTENSIBLE": Case(extensible(packed24(CLIP), 24, 1)),
    "float in WAVE_FORMAT_EXTENSIBLE": Case(extensible(WAVE.tobytes(), 32, 3)),
    "24 bits": Case(wav(packed24(CLIP), bits=24)),
    "32 bits": Case(wav((CLIP.astype("<i4") << 16).tobytes(), bits=32)),
    "64-bit float": Case(wav(WAVE.astype("<f8").tobytes(), bits=64, kind=3)),
    "8 bits": Case(wav(EIGHT_BIT, bits=8), EIGHT),
    "Sun AU": Case(b".snd" + struct.pack(">IIIII", 24, len(PCM), 3, RATE, 1) + CLIP.astype(">i2").tobytes()),
    "Sun AU, streamed": Case(
        b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFF, 3, RATE, 1) + CLIP.astype(">i2").tobytes()
    ),
    # levels and channels
    "float over full scale": Case(wav((WAVE * 4).tobytes(), bits=32, kind=3), WAVE * 4),
    "quiet float": Case(wav((WAVE * np.float32(2**-10)).tobytes(), bits=32, kind=3), WAVE * 2**-10),
    "stereo, one channel turned over": Case(stereo(CLIP, -CLIP), note="cancel one another"),
    "stereo, one channel silent": Case(stereo(CLIP, 0 * CLIP), WAVE / 2),
    "30 s of silence first": Case(
        wav(bytes(60 * RATE) + PCM), np.concatenate([np.zeros(30 * RATE, np.float32), WAVE])
    ),
    "an offset": Case(
        wav((CLIP // 2 + 8000).astype("<i2").tobytes()), (CLIP // 2 + 8000).astype(np.float32) / 32768
    ),
} | {f"{rate} Hz": Case(wav(PCM, rate=rate), rate=rate) for rate in (8_000, 11_025, 12_000, 96_000, 192_000)}


@pytest.mark.parametrize("name", WAVS)
def test_wav(name, tmp_path):
    case = WAVS[name]
    (tmp_path / "file").write_bytes(case.content)
    audio = read_audio(tmp_path / "file", PATIENT)
    assert audio.sample_rate == case.rate
    assert audio.samples.shape == (1, len(case.samples))
    np.testing.assert_allclose(audio.samples[0].numpy(), case.samples, rtol=0, atol=case.tolerance)
    assert not audio.cut_off and audio.clipped_share == 0
    assert len(audio.notes) == bool(case.note) and all(case.note in note for note in audio.notes), audio.notes


def test_notes_are_warnings_of_the_report(tmp_path):
    (tmp_path / "file").write_bytes(WAVS["joined, the second at another rate"].content)
    audio = read_audio(tmp_path / "file", PATIENT)
    report = judge(audio)
    assert audio.notes and set(audio.notes) <= set(report.warnings)
    assert "notes" not in report.metrics()


REFUSED = {
    "both lengths say 0": (lengths(36, 0), "say that it holds 0 samples, and 64000 bytes follow"),
    "length a lie of 3 GB": (lengths(3_000_000_036, 3_000_000_000), "claims 3000000000 bytes of samples"),
    "no format": (riff(DATA), "no readable WAV file"),
    "no samples": (riff(FMT), "audio file refused"),
    "format cut off": (riff(chunk(b"fmt ", FORM[:8]), DATA), "no readable WAV file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    content, words = REFUSED[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(AudioError) as error:
        read_audio(tmp_path / "file", PATIENT)
    assert words in str(error.value) and "allowed" in str(error.value) and "\n" not in str(error.value)


def test_a_wav_that_was_cut_off_is_read_and_says_so(tmp_path):
    (tmp_path / "file").write_bytes(PLAIN[: 44 + len(PCM) // 2])
    audio = read_audio(tmp_path / "file", PATIENT)
    assert audio.cut_off and audio.declared_seconds == SECONDS and audio.seconds == SECONDS / 2


def test_a_float_file_that_ends_at_full_scale_is_clipped(tmp_path):
    clipped = np.clip(WAVE * 8, -1, 1).astype("<f4")
    (tmp_path / "file").write_bytes(wav(clipped.tobytes(), bits=32, kind=3))
    audio = read_audio(tmp_path / "file", PATIENT)
    assert (
        audio.clipped_share == pytest.approx(np.mean(np.abs(clipped) >= 0.999)) and audio.clipped_share > 0.01
    )


@pytest.mark.parametrize("snr", (20, 40))
def test_the_snr_of_a_quiet_float_file_is_that_of_a_loud_one(snr, tmp_path):
    noisy = mix(talk(5), white(5 * RATE), snr)[0].numpy()
    found = []
    for gain in (0.5, 0.5e-3):
        soundfile.write(tmp_path / "file.wav", noisy * gain, RATE, subtype="FLOAT")
        report = judge(read_audio(tmp_path / "file.wav", PATIENT))
        found.append((report.snr_db, report.speech_share, report.bandwidth_hz))
    assert found[0] == pytest.approx(found[1], abs=0.05)


# --- what ffmpeg makes ------------------------------------------------------------------------

VIDEO = ("-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=6")
COVER_BYTES = 2_000_000

MADE = {
    "one.mp3": "-c:a libmp3lame -b:a 64k",
    "bare.mp3": "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0",
    "vbr-bare.mp3": "-c:a libmp3lame -q:a 4 -write_xing 0 -id3v2_version 0",
    "tagged.mp3": "-c:a libmp3lame -b:a 64k -write_id3v1 1 -metadata title=x",
    "other-rate.mp3": "-c:a libmp3lame -b:a 64k -ar 24000",
    "one.flac": "-c:a flac",
    "vorbis.ogg": "-c:a libvorbis",
    "whatsapp.opus": "-c:a libopus -b:a 16k -application voip",
    "memo.m4a": "-c:a aac",
    "call.3gp": "-c:a aac -f 3gp",
    "one.aac": "-c:a aac",
    "recorder.webm": "-c:a libopus -f webm -live 1",
    "sowt.aiff": "-c:a pcm_s16le -f aiff",
    "one.caf": "-c:a pcm_s16le",
    "one.w64": "-c:a pcm_s16le",
    "mulaw.wav": "-c:a pcm_mulaw",
    "alaw.wav": "-c:a pcm_alaw",
    "mp3-in.wav": "-c:a libmp3lame -b:a 64k -f wav",
}
FILMED = {
    "film.mp4": "mpeg4 aac",
    "film.mkv": "mpeg4 libopus",
    "film.webm": "libvpx libopus",
    "film.mov": "mpeg4 pcm_s16le",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "clip").write_bytes(PLAIN)
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", "clip", *VIDEO]
    for name, options in MADE.items():
        command += ["-map", "0:a", *options.split(), name]
    for name, codecs in FILMED.items():
        video, sound = codecs.split()
        command += ["-map", "0:a", "-map", "1:v", "-c:v", video, "-c:a", sound, name]
    subprocess.run(command, check=True, cwd=folder)
    return folder


def id3v2(size: int) -> bytes:
    """A tag with a cover picture of `size` bytes that look like frames of sound."""
    body = b"APIC" + struct.pack(">I", size) + b"\0\0" + (b"\xff\xfb\x90\x64" * (size // 4 + 1))[:size]
    return b"ID3\x03\0\0" + bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0)) + body


APE_FOOTER = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)

# how it is put together of the files above, seconds
PUT_TOGETHER = {
    "two MP3s": ("one.mp3 one.mp3", 4),
    "three MP3s with tags at both ends": ("tagged.mp3 tagged.mp3 tagged.mp3", 6),
    "a counted MP3, then a bare one": ("one.mp3 bare.mp3", 4),
    "a bare MP3, then a counted one": ("bare.mp3 one.mp3", 4),
    "two bare MP3s": ("bare.mp3 bare.mp3", 4),
    "two FLACs": ("one.flac one.flac", 4),
    "two Vorbis files": ("vorbis.ogg vorbis.ogg", 4),
    "two Opus files": ("whatsapp.opus whatsapp.opus", 4),
    "two AACs": ("one.aac one.aac", 4),
    "two AIFFs": ("sowt.aiff sowt.aiff", 4),
    "an MP3 behind 2 MB of cover": (f"{COVER_BYTES} one.mp3", 2),
    "two MP3s, each behind a cover": (f"{COVER_BYTES} one.mp3 {COVER_BYTES} one.mp3", 4),
    "an AAC behind a tag": ("5000 one.aac", 2),
    "a FLAC behind a tag": ("5000 one.flac", 2),
    "an MP3 with an APE tag": ("one.mp3 ape", 2),
    "two MP3s with APE tags": ("one.mp3 ape one.mp3 ape", 4),
} | {f"{name} alone": (name, 2) for name in (*MADE, *FILMED)}


@pytest.mark.parametrize("name", PUT_TOGETHER)
def test_put_together(name, made, tmp_path):
    pieces, seconds = PUT_TOGETHER[name]
    content = b""
    for piece in pieces.split():
        ape = bytes(2000 - 32) + APE_FOOTER if piece == "ape" else b""
        content += ape or (id3v2(int(piece)) if piece.isdigit() else (made / piece).read_bytes())
    (tmp_path / "file").write_bytes(content)
    audio = read_audio(tmp_path / "file", PATIENT)
    assert audio.seconds == pytest.approx(seconds, abs=0.06 + 0.1 * (seconds // 2))
    assert not audio.cut_off and audio.notes == ()
    if audio.sample_rate == RATE:
        # Each part holds the clip, some coder's delay after the part begins.
        for part in range(seconds // SECONDS):
            found = audio.samples[0, part * SECONDS * RATE : (part + 1) * SECONDS * RATE].numpy()
            assert correlation(found, WAVE) > 0.9, part


def correlation(found: np.ndarray, made: np.ndarray) -> float:
    """Highest normalized correlation, over delays."""
    size = 2 ** int(np.ceil(np.log2(len(found) + len(made))))
    product = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(made, size)), size)
    return product.max() / (np.linalg.norm(found) * np.linalg.norm(made))


def test_joined_mp3s_of_two_rates_say_what_is_left_out(made, tmp_path):
    (tmp_path / "file").write_bytes((made / "one.mp3").read_bytes() + (made / "other-rate.mp3").read_bytes())
    audio = read_audio(tmp_path / "file", PATIENT)
    assert audio.seconds == pytest.approx(2, abs=0.1)
    assert "Of the 2 recordings that are joined in this file, 1 cannot be read" in audio.notes[0]


@pytest.mark.parametrize("name", ("one.mp3", "bare.mp3", "recorder.webm", "one.aac"))
def test_cut_in_the_middle_gives_the_first_half(name, made, tmp_path):
    content = (made / name).read_bytes()
    (tmp_path / "file").write_bytes(content[: len(content) // 2])
    assert 0.5 < read_audio(tmp_path / "file", PATIENT).seconds < 1.5


def test_children_get_no_secret(made, tmp_path, monkeypatch):
    """Around the real programs, one that writes down the names of its variables."""
    real = {
        name: subprocess.check_output(["which", name], text=True).strip() for name in ("ffmpeg", "ffprobe")
    }
    for name, path in real.items():
        (tmp_path / name).write_text(
            f'#!/bin/sh\nenv | cut -d= -f1 > {tmp_path}/{name}.names\nexec {path} "$@"\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("INDEXTTS_WEIGHTS_URL", "https://example.com/?signature=secret")
    read_audio(made / "memo.m4a", PATIENT)
    for name in real:
        names = set((tmp_path / f"{name}.names").read_text().split())
        assert "PATH" in names and not names & {"HF_TOKEN", "INDEXTTS_WEIGHTS_URL"}
