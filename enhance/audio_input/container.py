"""Which container a file is, by its first bytes and never by its name.

The answer names one decoder, and for ffmpeg one demuxer: nothing that ffmpeg would guess by itself
(playlists, image sequences, scripts) is ever chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

W64_START = b"riff\x2e\x91\xcf\x11"
HEAD_BYTES = 4096  # enough for every rule below
ID3_HEADER_BYTES = 10


@dataclass(frozen=True)
class Container:
    name: str
    demuxer: str | None = None  # ffmpeg's; None: soundfile reads it


WAV = Container("WAV")
FLAC = Container("FLAC")
OGG = Container("OGG")
MP3 = Container("MP3")
AIFF = Container("AIFF")
OGG_OTHER = Container("OGG", "ogg")  # Opus, Speex, FLAC, or audio beside video
FLAC_STREAMED = Container("FLAC", "flac")  # without its length, where libsndfile fails
MP4 = Container("MP4", "mov")
WEBM = Container("WebM", "matroska")
AMR = Container("AMR", "amr")
AAC = Container("AAC", "aac")
CAF = Container("CAF", "caf")
AU = Container("AU")
W64 = Container("W64")

# First atoms of MP4 and QuickTime files; brands inside `ftyp` that are pictures are left out.
MP4_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide"}
PICTURE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"crx "}


def sniff(head: bytes) -> Container | None:
    """Container of a file that begins with `head`; None when it is none that is read."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"fLaC":
        # STREAMINFO follows: 36 bits from the middle of byte 21 count the samples.
        return FLAC if int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF else FLAC_STREAMED
    if head[:4] == b"OggS":
        return OGG if _first_ogg_packet(head).startswith(b"\x01vorbis") else OGG_OTHER
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if head[4:8] in MP4_ATOMS and head[8:12] not in PICTURE_BRANDS:
        return MP4
    if head[:4] == b"\x1aE\xdf\xa3":
        return WEBM
    if head.startswith((b"#!AMR\n", b"#!AMR-WB\n")):
        return AMR
    if head.startswith(b"caff\x00\x01"):
        return CAF
    if head.startswith(b".snd"):
        return AU
    if head.startswith(W64_START):
        return W64
    if head[:3] == b"ID3" and len(head) > ID3_HEADER_BYTES:
        return MP3
    return _mpeg_stream(head)


def _first_ogg_packet(head: bytes) -> bytes:
    """Ogg page header: 27 bytes, the last counts the bytes of the segment table that follows."""
    return head[27 + head[26] :] if len(head) > 27 else b""


def _mpeg_stream(head: bytes) -> Container | None:
    """MPEG audio without a tag: 11 sync bits, then fields of which some values are reserved."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:  # ADTS: layer is always 0 and the sync has 12 bits
        return AAC if head[1] & 0xF0 == 0xF0 and head[2] >> 2 & 0xF < 13 else None
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return MP3 if version != 1 and bitrate not in (0, 15) and rate != 3 else None
