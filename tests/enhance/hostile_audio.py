"""Makes the hostile and odd audio files of tests/enhance/test_hostile_audio.py, each with the outcome it must
have.
"""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPEECH = Path(__file__).parent / "speech" / "slt_1.ogg"
RATE = 16_000
READ = "read"  # the outcome of a file that is odd but fine; any other outcome is a part of the error


@dataclass(frozen=True)
class Case:
    name: str
    path: Path
    outcome: str | None  # None: either is right, within the bounds


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def wav(
    body: bytes,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    claimed: int | None = None,
) -> bytes:
    """A WAV file with any header around `body`; kind 1 is PCM, 3 float."""
    size = len(body) if claimed is None else claimed
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    return (
        b"RIFF"
        + struct.pack("<I", min(size + 36, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + body
    )


def tone(seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(np.arange(int(seconds * RATE)) * 0.1)).astype(np.float32)


def pcm(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


class Maker:
    def __init__(self, folder: Path):
        self.folder = folder
        self.cases: list[Case] = []

    def path(self, name: str) -> Path:
        return self.folder / name

    def add(self, name: str, outcome: str | None, content: bytes | None = None) -> None:
        if content is not None:
            self.path(name).write_bytes(content)
        self.cases.append(Case(name, self.path(name), outcome))


def make_cases(folder: Path) -> list[Case]:
    maker = Maker(folder)
    for part in (
        formats,
        truncated,
        headers,
        samples,
        strangers,
        claims,
        long_files,
        not_files,
        ffmpeg_hostile,
    ):
        part(maker)
    return maker.cases


def formats(maker: Maker) -> None:
    """Odd but fine encodings, made by ffmpeg and read."""
    encodings = {
        "8-bit.wav": "pcm_u8",
        "24-bit.wav": "pcm_s24le",
        "32-bit.wav": "pcm_s32le",
        "float.wav": "pcm_f32le",
        "float64.wav": "pcm_f64le",
        "ima-adpcm.wav": "adpcm_ima_wav",
        "ms-adpcm.wav": "adpcm_ms",
        "mu-law.wav": "pcm_mulaw",
        "speech.flac": "flac",
        "speech.mp3": "libmp3lame",
        "speech.m4a": "aac",
        "speech.opus": "libopus",
        "speech.webm": "libopus",
        "speech.aac": "aac",
        "alac.m4a": "alac",
        "speech.caf": "pcm_s16be",
        "speech.aiff": "pcm_s16be",
        "speex.ogg": "libspeex",
        "flac.ogg": "flac",
        "speech.mp2": "mp2",
        "speech.mkv": "libvorbis",
    }
    arguments: list = ["-i", SPEECH]
    for name, codec in encodings.items():
        arguments += ["-c:a", codec, maker.path(name)]
    ffmpeg(*arguments)
    for name in encodings:
        maker.add(name, READ)
    video, one_frame = ("-map", "1:v", "-c:v", "mpeg4"), ("-map", "1:v", "-frames:v", "1")
    ffmpeg(
        "-i",
        SPEECH,
        "-f",
        "lavfi",
        "-i",
        "color=size=64x64:rate=5:duration=1",
        *video,
        "-map",
        "0:a",
        "-c:a",
        "aac",
        maker.path("video-with-sound.mp4"),
        *video,
        maker.path("video-without-sound.mp4"),
        *one_frame,
        maker.path("picture.png"),
        *one_frame,
        maker.path("photo.jpg"),
    )
    maker.add("video-with-sound.mp4", READ)
    maker.add("video-without-sound.mp4", "no audio stream")
    maker.add("picture.png", "no audio format")
    maker.add("photo.jpg", "no audio format")
    maker.add("no-extension", READ, maker.path("speech.m4a").read_bytes())
    maker.add("flac-named.mp3", READ, maker.path("speech.flac").read_bytes())
    maker.add("streamed-by-ffmpeg.wav", READ, wav(pcm(tone()), claimed=0xFFFFFFFF))
    maker.add("streamed-by-sox.wav", READ, wav(pcm(tone()), claimed=0x7FFFF000))
    maker.add("unfinished.wav", "0 samples", wav(pcm(tone()), claimed=0))
    stereo = np.stack([tone(), np.zeros_like(tone())], axis=1)
    maker.add("one-silent-channel.wav", READ, wav(pcm(stereo), channels=2))
    maker.add("eight-channels.wav", READ, wav(pcm(np.repeat(tone()[:, None], 8, axis=1)), channels=8))


def truncated(maker: Maker) -> None:
    """Cut off at 20 points each (6 where ffmpeg reads): an error early, what is there later."""
    points_of = {"speech.flac": 20, "speech.mp3": 20, "float.wav": 20, "speech.m4a": 6, "speech.webm": 6}
    for name, points in points_of.items():
        content = maker.path(name).read_bytes()
        for point in range(points):
            length = 4 + len(content) * point**2 // points**2  # closer together where the header is
            stem, extension = name.split(".")
            maker.add(f"{stem}-cut-{point:02}.{extension}", None, content[:length])


def headers(maker: Maker) -> None:
    maker.add("empty.wav", "0 bytes", b"")
    maker.add("one-byte.wav", "no audio format", b"R")
    maker.add("header-only.wav", "0 samples", wav(b""))
    maker.add("riff-only.wav", "no readable WAV file", wav(b"")[:12])
    maker.add("magic-only.flac", None, b"fLaC")
    maker.add("magic-only.ogg", None, b"OggS")
    maker.add("magic-only.aiff", None, b"FORM\0\0\0\0AIFF")
    maker.add("ftyp-only.mp4", "cannot be decoded", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0))
    maker.add("ebml-only.webm", "cannot be decoded", b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1f")
    maker.add("magic-only.amr", None, b"#!AMR\n")
    maker.add("magic-only.caf", None, b"caff\0\x01\0\0")
    maker.add("id3-only.mp3", None, b"ID3\x04\0\0\0\0\0\0" + bytes(64))
    maker.add("id3-of-256-mb.mp3", None, b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(64))
    maker.add("rate-0.wav", None, wav(pcm(tone()), rate=0))
    maker.add("rate-1.wav", "sample rate is 1 Hz", wav(pcm(tone()), rate=1))
    maker.add("rate-7999.wav", "sample rate is 7999 Hz", wav(pcm(tone()), rate=7999))
    maker.add("rate-2147483647.wav", "sample rate is 2147483647 Hz", wav(pcm(tone()), rate=2**31 - 1))
    maker.add("rate-4294967295.wav", None, wav(pcm(tone()), rate=2**32 - 1))
    maker.add("channels-0.wav", "no readable WAV file", wav(pcm(tone()), channels=0))
    maker.add("channels-9.wav", "9 channels", wav(pcm(tone()), channels=9))
    maker.add("channels-64.wav", "64 channels", wav(pcm(tone()), channels=64))
    maker.add("channels-65535.wav", None, wav(pcm(tone()), channels=65535))
    maker.add("bits-0.wav", None, wav(pcm(tone()), bits=0))
    maker.add("bits-65535.wav", None, wav(pcm(tone()), bits=65535))
    maker.add("unknown-codec.wav", "no readable WAV file", wav(pcm(tone()), kind=0x7777))
    maker.add("a-million-chunks.wav", None, b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 1_000_000)


def samples(maker: Maker) -> None:
    for name, value in (
        ("nan", np.nan),
        ("infinite", np.inf),
        ("minus-infinite", -np.inf),
        ("1e300-double", 1e300),
    ):
        wave = tone().astype("<f8")
        wave[len(wave) // 2] = value
        maker.add(f"{name}.wav", "not finite", wav(wave.tobytes(), bits=64, kind=3))
    loud = tone()
    loud[100] = 1e30
    maker.add("1e30.wav", "reach 1e+30", wav(loud.astype("<f4").tobytes(), bits=32, kind=3))
    maker.add("a-little-over-1.wav", READ, wav((4 * tone()).astype("<f4").tobytes(), bits=32, kind=3))
    maker.add("one-sample.wav", "1 samples", wav(b"\1\1"))
    maker.add("half-a-sample.wav", "0 samples", wav(b"\1"))
    maker.add("50-ms.wav", "0.050 s", wav(pcm(tone(0.05))))
    maker.add("pure-offset.wav", READ, wav(pcm(np.full(RATE, 0.5))))
    maker.add("silence.wav", READ, wav(bytes(2 * RATE)))
    noise = np.random.default_rng(0).uniform(-1, 1, RATE)
    maker.add("pure-noise.wav", READ, wav(pcm(noise)))
    maker.add("full-scale-square.wav", READ, wav(pcm(np.sign(noise))))


def strangers(maker: Maker) -> None:
    secret = maker.path("secret.txt")
    secret.write_text("not to be read")
    entries = f"#EXTINF:10,\nfile://{maker.path('speech.mp3')}\n#EXTINF:10,\nfile://{secret}\n"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n{entries}#EXT-X-ENDLIST\n".encode()
    maker.add("playlist.m3u8", "no audio format", playlist)
    maker.add("playlist-named.wav", "no audio format", playlist)
    maker.add(
        "concat.ffconcat",
        "no audio format",
        f"ffconcat version 1.0\nfile {maker.path('speech.mp3')}\n".encode(),
    )
    maker.add("dash.mpd", "no audio format", b'<?xml version="1.0"?><MPD><Period></Period></MPD>')
    maker.add("session.sdp", "no audio format", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n")
    maker.add("script-named.wav", "no audio format", b"#!/bin/sh\necho hello\n")
    maker.add("page.mp3", "no audio format", b"<!DOCTYPE html><html><body>404</body></html>")
    maker.add("text.wav", "no audio format", "Привет".encode() * 1000)
    maker.add("program.wav", "no audio format", b"\x7fELF\x02\x01\x01" + bytes(4096))
    maker.add("archive.zip", "no audio format", b"PK\x03\x04" + bytes(4096))
    maker.add(
        "bomb.gz", "no audio format", b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + zlib.compress(bytes(10_000_000))
    )
    maker.add("document.pdf", "no audio format", b"%PDF-1.7\n" + bytes(1000))
    maker.add("photo.heic", "no audio format", struct.pack(">I4s4sI", 24, b"ftyp", b"heic", 0) + bytes(1000))
    maker.add("tune.mid", "no audio format", b"MThd\0\0\0\x06\0\x01\0\x01\0\x60" + bytes(100))
    random = np.random.default_rng(1)
    junk = random.bytes(20_000_000)
    maker.add("20-mb-of-junk.bin", None, junk)
    maker.add("junk-after-mp3-sync.mp3", None, b"\xff\xfb\x90\x64" + junk)
    maker.add("nothing-but-mp3-sync.mp3", None, b"\xff\xfb\x90\x64" * 5_000_000)
    magic = {
        "flac": b"fLaC\0\0\0\x22",
        "ogg": b"OggS\0\x02",
        "amr": b"#!AMR\n",
        "aac": b"\xff\xf1\x50\x80",
        "caf": b"caff\0\x01\0\0",
        "webm": b"\x1aE\xdf\xa3",
        "m4a": b"\0\0\0\x20ftypM4A ",
    }
    for name, start in magic.items():
        maker.add(f"junk-after-magic.{name}", None, start + junk[:1_000_000])


def claims(maker: Maker) -> None:
    """Headers that promise what is not there, or hide what is."""
    maker.add("claims-2-gb.wav", "claims 2147483648 bytes", wav(pcm(tone()), claimed=2**31))
    maker.add("claims-twice.wav", READ, wav(pcm(tone()), claimed=4 * RATE))
    flac = maker.path("speech.flac").read_bytes()
    info = int.from_bytes(flac[18:26], "big")  # 20 bits rate, 3 channels, 5 bits, 36 samples

    def lying(total: int, rate: int = RATE) -> bytes:
        changed = (info & ~(2**36 - 1) & (2**44 - 1)) | rate << 44 | total
        return flac[:18] + changed.to_bytes(8, "big") + flac[26:]

    maker.add("claims-9-minutes.flac", None, lying(9 * 60 * RATE))
    maker.add("claims-49-days.flac", "its header says", lying(2**36 - 1))
    maker.add("claims-1-second.flac", None, lying(RATE))
    maker.add("claims-rate-1.flac", None, lying(RATE, rate=1))
    maker.add("claims-no-length.flac", READ, lying(0))
    rf64 = (
        b"RF64\xff\xff\xff\xffWAVEds64"
        + struct.pack("<IQQQI", 28, 2**62, 2**62, 2**61, 0)
        + wav(pcm(tone()))[12:]
    )
    maker.add("claims-an-exabyte.rf64", None, rf64)


def long_files(maker: Maker) -> None:
    def silence(name: str, hours: float, rate: int, *options: str) -> None:
        ffmpeg(
            "-f",
            "lavfi",
            "-i",
            f"anullsrc=r={rate}:cl=mono",
            "-t",
            str(hours * 3600),
            *options,
            maker.path(name),
        )

    silence("4-hours-in-300-kb.flac", 4, 8_000, "-c:a", "flac", "-frame_size", "4608")
    size = maker.path("4-hours-in-300-kb.flac").stat().st_size
    assert 200_000 < size < 400_000, size
    maker.add("4-hours-in-300-kb.flac", "its header says 14400.0 s")
    content = maker.path("4-hours-in-300-kb.flac").read_bytes()
    hidden = int.from_bytes(content[18:26], "big") & ~(2**36 - 1)
    maker.add(
        "4-hours-that-hide.flac", "longer than 600 s", content[:18] + hidden.to_bytes(8, "big") + content[26:]
    )
    modest = hidden | 8_000
    maker.add("4-hours-that-say-1-s.flac", None, content[:18] + modest.to_bytes(8, "big") + content[26:])
    silence("11-minutes.mp3", 11 / 60, 8_000, "-c:a", "libmp3lame", "-b:a", "8k")
    maker.add("11-minutes.mp3", "its header says 660")
    ffmpeg("-i", maker.path("4-hours-in-300-kb.flac"), "-c", "copy", maker.path("4-hours.mkv"))
    maker.add("4-hours.mkv", "its header says 14400")


def not_files(maker: Maker) -> None:
    maker.path("link.wav").symlink_to(maker.path("float.wav"))
    maker.add("link.wav", "regular file")
    maker.path("dangling.wav").symlink_to(maker.path("nowhere"))
    maker.add("dangling.wav", "regular file")
    maker.path("folder.wav").mkdir()
    maker.add("folder.wav", "not a regular file")
    os.mkfifo(maker.path("pipe.wav"))
    maker.add("pipe.wav", "not a regular file")
    maker.add("missing.wav", "No such file")
    maker.add("n" * 300, "name too long")
    maker.cases.append(Case("/dev/zero", Path("/dev/zero"), "not a regular file"))
    with open(maker.path("26-mb.wav"), "wb") as file:
        file.write(wav(b"", claimed=26_000_000))
        file.truncate(26_000_000)
    maker.add("26-mb.wav", "26.0 MB")
    for name in ("-i", "%03d.wav", "a name\nof two lines.wav", "concat:a|b", "http:"):
        maker.add(name, READ, maker.path("speech.m4a").read_bytes())


def ffmpeg_hostile(maker: Maker) -> None:
    """Containers that ask ffmpeg for memory, time or other files."""
    m4a = maker.path("speech.m4a").read_bytes()
    for atom, shift in {
        "stsz": 12,
        "stts": 8,
        "stco": 8,
        "stsc": 8,
    }.items():  # where they say how many entries follow
        where = m4a.index(atom.encode()) + shift
        maker.add(f"4-billion-in-{atom}.m4a", None, m4a[:where] + b"\xff\xff\xff\xff" + m4a[where + 4 :])
    where = m4a.index(b"mp4a") + 20
    maker.add("64-channels.m4a", None, m4a[:where] + b"\0\x40" + m4a[where + 2 :])
    # A data reference that points at another file, where the samples would be taken from.
    where = m4a.index(b"url ")
    maker.add("samples-elsewhere.m4a", None, m4a[: where + 4] + b"\0\0\0\0" + m4a[where + 8 :])
    webm = maker.path("speech.webm").read_bytes()
    where = webm.index(b"\x1fC\xb6u")  # the first cluster
    size = b"\x01\xff\xff\xff\xff\xff\xff\xfe"
    maker.add("cluster-of-64-petabytes.webm", None, webm[: where + 4] + size + webm[where + 8 :])
    maker.add("4-mb-of-masters.webm", None, webm[:64] + b"\x18S\x80g\x01\0\0\0\0\xff\xff\xff" * 350_000)
    maker.add("atoms-in-atoms.mp4", None, m4a[:32] + b"\x7f\xff\xff\xffmoov\x7f\xff\xff\xfftrak" * 200_000)


def write_longest_allowed(folder: Path) -> list[Path]:
    """Ten minutes at the highest rate, for soundfile and for ffmpeg."""
    flac, mkv = folder / "longest.flac", folder / "longest.mkv"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "anullsrc=r=192000:cl=mono",
        "-t",
        "600",
        "-c:a",
        "flac",
        "-compression_level",
        "0",
        "-frame_size",
        "65535",
        flac,
    )
    ffmpeg("-i", flac, "-c", "copy", mkv)
    return [flac, mkv]
