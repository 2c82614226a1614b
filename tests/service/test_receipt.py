"""The receipt as JSON, and subtitles as strict parsers and ffmpeg read them."""

import html
import json
import math
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.receipt import Receipt, SegmentReceipt, to_json, to_srt, to_vtt

SRT_TIME, VTT_TIME = r"(\d{2,}):([0-5]\d):([0-5]\d),(\d{3})", r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"
SRT_CUE = re.compile(rf"([1-9]\d*)\n{SRT_TIME} --> {SRT_TIME}\n([^\n]+)\n")
VTT_CUE = re.compile(rf"{VTT_TIME} --> {VTT_TIME}\n([^\n]+)\n")


def segment(start: float, end: float, text: str = "Hello.", index: int = 0, **rest) -> SegmentReceipt:
    return SegmentReceipt(index, text, start, end, codes=50, seed=7, **rest)


def milliseconds(groups: tuple[str, ...]) -> int:
    hours, minutes, seconds, rest = map(int, groups)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def read_srt(text: str) -> list[tuple[int, int, str]]:
    """Cues as (start, end, text), by the format's own words; anything else fails."""
    if not text:
        return []
    matches = [
        SRT_CUE.fullmatch(block) for block in (block.rstrip("\n") + "\n" for block in text.split("\n\n"))
    ]
    assert [int(match[1]) for match in matches] == list(range(1, len(matches) + 1))
    return [(milliseconds(m.groups()[1:5]), milliseconds(m.groups()[5:9]), m[10]) for m in matches]


def read_vtt(text: str) -> list[tuple[int, int, str]]:
    head, *blocks = text.split("\n\n")
    assert head.strip() == "WEBVTT" and text.endswith("\n") and "\n\n\n" not in text
    matches = [VTT_CUE.fullmatch(block.rstrip("\n") + "\n") for block in blocks]
    assert not any(re.search(r"<|>|&(?!amp;|lt;|gt;)", m[9]) for m in matches)
    return [
        (milliseconds(m.groups()[:4]), milliseconds(m.groups()[4:8]), html.unescape(m[9])) for m in matches
    ]


def receipt(**changes) -> Receipt:
    values = {
        "seed": 4294967295,
        "model": "mini",
        "fingerprint": "abc",
        "precision": "fast",
        "adapter": "",
        "text": "Hello. 你好",
        "timings": {"gpt": 1.23456789},
        "segments": (segment(0, 1 / 3, warnings=("it is silent",)), segment(0.5, 1.0, "你好", 1)),
        "audio_seconds": 1.0,
        "real_time_factor": 2.0,
        "warnings": ("segment 1: it is silent",),
    }
    return Receipt(**(values | changes))


def test_json_holds_every_field():
    made = json.loads(to_json(receipt()))
    assert made == {
        "seed": 4294967295,
        "model": "mini",
        "fingerprint": "abc",
        "precision": "fast",
        "adapter": "",
        "text": "Hello. 你好",
        "segments": [
            {
                "index": 0,
                "text": "Hello.",
                "start": 0,
                "end": 0.3333,
                "codes": 50,
                "seed": 7,
                "warnings": ["it is silent"],
                "written": "",
                "voice": None,
                "pieces": "",
            },
            {
                "index": 1,
                "text": "你好",
                "start": 0.5,
                "end": 1.0,
                "codes": 50,
                "seed": 7,
                "warnings": [],
                "written": "",
                "voice": None,
                "pieces": "",
            },
        ],
        "timings": {"gpt": 1.2346},
        "audio_seconds": 1.0,
        "real_time_factor": 2.0,
        "warnings": ["segment 1: it is silent"],
    }
    assert "你好" in to_json(receipt()), "readable as it is"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_has_no_numbers_that_json_lacks(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(receipt(real_time_factor=value))


@given(st.text(), st.text())
def test_any_text_is_json_and_utf8(text, stage):
    made = json.loads(to_json(receipt(text=text, segments=(segment(0, 1, text),))).encode())
    assert made["text"] == made["segments"][0]["text"] == text.encode(errors="replace").decode()


def test_clock():
    segments = [
        segment(0, 1.0004),
        segment(1.0006, 59.9994),
        segment(59.9996, 3600),
        segment(3723.004, 360000),
    ]
    assert to_srt(segments).split("\n")[1::4] == [
        "00:00:00,000 --> 00:00:01,000",
        "00:00:01,001 --> 00:00:59,999",
        "00:01:00,000 --> 01:00:00,000",
        "01:02:03,004 --> 100:00:00,000",
    ]
    assert [cue[:2] for cue in read_vtt(to_vtt(segments))] == [cue[:2] for cue in read_srt(to_srt(segments))]


def test_whole_files():
    segments = [segment(0, 1, "A & B, <b>C</b>."), segment(1.2, 2.5, "No --> {x}.", 1)]
    assert to_srt(segments) == (
        "1\n00:00:00,000 --> 00:00:01,000\nA & B, ‹b›C‹/b›.\n\n2\n00:00:01,200 --> 00:00:02,500\nNo --› ❴x❵.\n"
    )
    assert to_vtt(segments) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nA &amp; B, &lt;b&gt;C&lt;/b&gt;.\n\n"
        "00:00:01.200 --> 00:00:02.500\nNo --&gt; {x}.\n"
    )


def test_segments_without_sound_or_text_have_no_cue():
    segments = [
        segment(0, 0, index=0),
        segment(0, 1, " \n", 1),
        segment(1, 1.0001, index=2),
        segment(1.5, 2, "x", 3),
    ]
    assert read_srt(to_srt(segments)) == read_vtt(to_vtt(segments)) == [(1500, 2000, "x")]
    assert to_srt([]) == "" and to_vtt([]) == "WEBVTT\n"


@pytest.mark.parametrize(("start", "end"), [(-0.1, 1), (2, 1), (0, math.nan), (math.nan, 1), (0, math.inf)])
@pytest.mark.parametrize("write", [to_srt, to_vtt])
def test_impossible_times(write, start, end):
    with pytest.raises(ValueError, match=r"segment 3 is from .* to .* s; allowed: 0 or more, in order"):
        write([segment(start, end, index=3)])


@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 10_000_000), st.text(max_size=30)), max_size=6)
)
def test_any_segments_give_ordered_cues_at_their_times(spans):
    """Gaps and lengths in samples, one after another, as the service has them."""
    segments, position = [], 0
    for index, (gap, length, text) in enumerate(spans):
        start = position + gap
        position = start + length
        segments.append(segment(start / 22050, position / 22050, text, index))
    srt, vtt = read_srt(to_srt(segments)), read_vtt(to_vtt(segments))
    assert [cue[:2] for cue in srt] == [cue[:2] for cue in vtt]
    times = [time for cue in srt for time in cue[:2]]
    assert times == sorted(times) and all(start < end for start, end, _ in srt)
    spoken = [s for s in segments if s.end - s.start > 0.002 and s.text.strip() and s.text.isprintable()]
    for one in spoken:
        near = [
            cue
            for cue in vtt
            if abs(cue[0] - one.start * 1000) <= 0.51 and abs(cue[1] - one.end * 1000) <= 0.51
        ]
        assert near and near[0][2] == " ".join(one.text.split())


@pytest.mark.parametrize(("write", "suffix"), [(to_srt, "srt"), (to_vtt, "vtt")])
def test_ffmpeg_reads_what_is_written(tmp_path, write, suffix):
    texts = ["Well, 5 & 6.", "1 < 2 > 0", "第一句。", "--> {\\an8}<i>x</i> &amp;"]
    segments = [segment(index * 1.5, index * 1.5 + 1.2345, text, index) for index, text in enumerate(texts)]
    path = tmp_path / f"speech.{suffix}"
    path.write_text(write(segments), encoding="utf-8")
    command = [
        "ffprobe",
        "-v",
        "error",
        "-show_entries",
        "packet=pts_time,duration_time",
        "-of",
        "json",
        str(path),
    ]
    packets = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["packets"]
    assert [float(packet["pts_time"]) for packet in packets] == [0, 1.5, 3, 4.5]
    assert [float(packet["duration_time"]) for packet in packets] == pytest.approx([1.234] * 4, abs=0.0011)
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "ass", "-"]
    ass = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    said = [line.split(",", 9)[9] for line in ass.splitlines() if line.startswith("Dialogue:")]
    said = [re.sub(r"\\([{}])", r"\1", line) for line in said]  # as ASS escapes them
    alike = str.maketrans("<>{}", "‹›❴❵")
    assert said == (texts if suffix == "vtt" else [text.translate(alike) for text in texts])


def test_subtitles_show_the_text_as_written():
    made = segment(0, 1, "It costs five dollars.", written="It costs $5.")
    assert "\nIt costs $5.\n" in to_srt([made]) and "\nIt costs $5.\n" in to_vtt([made])
    [told] = json.loads(to_json(receipt(segments=(made,))))["segments"]
    assert (told["text"], told["written"]) == ("It costs five dollars.", "It costs $5.")
