"""A packed corpus is the corpus: texts, timings and sound, sample for sample in time."""

import json

import numpy as np
import pytest
import soundfile

from training import data, pack

RATE = 24_000


@pytest.fixture
def work(tmp_path):
    """Seven clips of many voices (numbers 0 to 6) and four of one (100 to 103), chirps of different lengths."""
    folder = tmp_path / "work"
    for part, first, count in (("speech", 0, 7), ("fast_speech", 100, 4)):
        lines = []
        for index in range(first, first + count):
            time = np.arange(RATE + 1000 * (index % 10)) / RATE
            path = folder / part / f"v{index % 2}" / f"{index:06d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time), RATE)
            record = {
                "index": index,
                "audio": f"v{index % 2}/{index:06d}.flac",
                "text": f"Clip {index}, naïve.",
            }
            lines.append(record | {"speaker": f"v{index % 2}", "phones": [["", 0.12], ["ɐ", 0.5]]})
        (folder / part / data.MANIFEST).write_text(
            "".join(json.dumps(line) + "\n" for line in lines), "utf-8"
        )
    return folder


def test_whole_shards_come_back(work, tmp_path):
    packed = pack.make_pack(work, tmp_path / "corpus.pack", 1.0, 24, 0.8, shard=3)
    assert packed == {"speech": 6, "fast_speech": 0}  # 100 to 103 begin and end inside a shard of three
    pack.open_pack(tmp_path / "corpus.pack", tmp_path / "other")
    clips, rejected = data.read_manifest(tmp_path / "other/speech" / data.MANIFEST)
    wanted, _ = data.read_manifest(work / "speech" / data.MANIFEST)
    assert not rejected
    for found, original in zip(clips, wanted[:6], strict=True):
        assert (found.index, found.text, found.phones, found.speaker) == (
            original.index,
            original.text,
            original.phones,
            original.speaker,
        )
        ours = data.read_wave_at(found.path, RATE)
        theirs = data.read_wave_at(original.path, RATE)
        assert len(ours) == len(theirs)
        best = max(range(-20, 21), key=lambda lag: float(np.dot(np.roll(ours, lag), theirs)))
        assert abs(best) <= 2  # 0.1 ms
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    with pytest.raises(ValueError, match="has a corpus already"):
        pack.open_pack(tmp_path / "corpus.pack", tmp_path / "other")


def test_the_size_is_kept_and_an_empty_pack_is_refused(work, tmp_path):
    whole = pack.make_pack(work, tmp_path / "a.pack", 1.0, 24, 1.0, shard=1)
    small = pack.make_pack(work, tmp_path / "b.pack", 0.02, 24, 0.5, shard=1)
    assert whole == {"speech": 7, "fast_speech": 4} and 0 < sum(small.values()) < 11
    assert (tmp_path / "b.pack").stat().st_size < 25_000
    with pytest.raises(ValueError, match="no whole shard of 8 clips"):
        pack.make_pack(work, tmp_path / "c.pack", 1.0, 24, 0.8, shard=8)
    assert not (tmp_path / "c.pack").exists()
