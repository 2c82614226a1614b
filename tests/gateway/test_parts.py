"""The gateway's parts without a server: settings, keys, voices, formats, lost replicas, stale files."""

import asyncio
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gateway import cluster, scratch
from gateway.formats import encode
from gateway.keys import Keys, new_key, read_keys
from gateway.problem import Problem
from gateway.replicas import MAX_TRIES, unbroken
from gateway.settings import GatewaySettings
from gateway.speaker import Audio, Done
from gateway.table import Reader, RowError, read_rows
from gateway.voices import Library
from pipeline.strict import ConfigError
from tests.conftest import ROOT


def test_nobody_is_let_in_from_outside_without_keys(tmp_path):
    for host, fine in (
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("x.org", False),
    ):
        settings = GatewaySettings.read({"INDEXTTS_HOST": host})
        if fine:
            assert settings.check() is settings
        else:
            with pytest.raises(ValueError, match="name a file of keys"):
                settings.check()
    with pytest.raises(ValueError, match="no such file"):
        GatewaySettings.read({"INDEXTTS_KEYS": str(tmp_path / "none")}).check()
    with pytest.raises(ConfigError, match="INDEXTTS_QUEUE is 'many'; allowed: 1 to 10000"):
        GatewaySettings.read({"INDEXTTS_QUEUE": "many"})


def test_the_documents_table_of_variables_is_the_codes():
    import dataclasses

    text = (ROOT / "docs/gateway.md").read_text()
    for field in dataclasses.fields(GatewaySettings):
        told = field.metadata
        default = f"`{told['default']}`" if told["default"] else ""
        row = f"| `{told['variable']}` | {default} | {told['help']} |".replace("|  |", "| |")
        assert row in text, told["variable"]


def test_keys_are_kept_as_hashes_and_read_again(tmp_path):
    path, now = tmp_path / "keys", [0.0]
    key = new_key(path, "anna")
    assert key not in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    keys = Keys(path, 2, now=lambda: now[0])
    anna = keys.caller(f"Bearer {key}", "x")
    assert anna.name == "anna"
    keys.admit(anna)
    keys.admit(anna)
    with pytest.raises(Problem) as limited:
        keys.admit(anna)
    assert limited.value.status == 429 and limited.value.headers["Retry-After"] == "30"
    now[0] = 31.0
    keys.admit(anna)
    path.write_text("# none\n")
    os.utime(path, ns=(1, 1))
    with pytest.raises(Problem, match="missing or wrong"):
        keys.caller(f"Bearer {key}", "x")
    path.write_text("anna 123\n")
    with pytest.raises(ValueError, match="line 1: allowed"):
        read_keys(path, 0)
    with pytest.raises(ValueError, match="the name of a key"):
        new_key(path, "a b")


def test_a_library_anywhere(tmp_path):
    """fsspec's memory is such a storage; two libraries at a place are one."""
    for url in (str(tmp_path / "voices"), "memory://voices"):
        library, other = Library(url), Library(url)
        content = (ROOT / "examples/rms.flac").read_bytes()
        record = library.add("anna", content, " Anna agreed. ", "en", "", {"seconds": 8.5})
        assert other.get("anna") == record and record.read() == content and record.consent == "Anna agreed."
        assert "url" not in record.told() and "anna" in other.names()
        with pytest.raises(Problem, match="exists; delete it first"):
            other.check_new("anna", "x", "", "", 5)
        other.delete("anna")
        assert "anna" not in library.names()
        with pytest.raises(Problem, match="comes with the project"):
            library.delete("speaker")


def test_a_damaged_library_is_told(tmp_path):
    library = Library(str(tmp_path))
    record = library.add("anna", b"content", "yes", "", "", {})
    next((tmp_path / "anna").glob("clip-*")).write_bytes(b"another")
    with pytest.raises(Problem, match="is not the one that was added"):
        record.read()
    (tmp_path / "anna/voice.json").write_text("{")
    with pytest.raises(Problem, match="the record of voice 'anna' is damaged"):
        library.get("anna")


def bytes_of(waves, format, **options) -> bytes:
    async def every() -> bytes:
        async def source():
            for wave in waves:
                yield wave

        return b"".join([piece async for piece in encode(source(), 22050, format, **options)])

    return asyncio.run(every())


@pytest.mark.parametrize("format", ["wav", "flac", "opus", "mp3"])
def test_a_stream_in_pieces_is_the_sound_in_one(format):
    wave = (0.5 * np.sin(np.arange(22050) * 0.1)).astype(np.float32)
    pieces = bytes_of([wave[:1], wave[1:9000], wave[9000:]], format)
    assert pieces == bytes_of([wave], format)
    # By ffmpeg, as players do: a stream does not say its length, and libsndfile wants to know it of FLAC and MP3.
    command = ["ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "f32le", "-ac", "1", "-ar", "22050", "pipe:1"]
    done = subprocess.run(command, input=pieces, capture_output=True, check=True)
    samples = np.frombuffer(done.stdout, np.float32)
    assert abs(len(samples) / 22050 - 1) < 0.15 and 0.3 < np.abs(samples).max() < 0.7


def test_a_rate_that_was_asked_for():
    wave = np.zeros(22050, np.float32)
    assert len(bytes_of([wave[:10000], wave[10000:]], "pcm")) == pytest.approx(2 * 24000, abs=50)
    assert len(bytes_of([wave], "pcm", sample_rate=8000)) == pytest.approx(2 * 8000, abs=50)


class Lost(Exception):
    pass


def test_an_order_whose_replica_is_lost_goes_on_where_it_was():
    tries = []

    async def items():
        tries.append(1)
        pieces = [b"ab", b"cde", b"f"] if len(tries) != 2 else [b"a", b"bcd", b"ef"]
        for number, piece in enumerate(pieces):
            yield Audio(piece)
            if len(tries) < 3 and number == len(tries) - 1:
                raise Lost
        yield Done({"n": len(tries)})

    async def every(source):
        return [item async for item in unbroken(source, (Lost,), lambda: None)]

    got = asyncio.run(every(items))
    assert b"".join(item.data for item in got if isinstance(item, Audio)) == b"abcdef"
    assert got[-1] == Done({"n": 3})

    async def never():
        tries.append(1)
        raise Lost
        yield

    tries.clear()
    with pytest.raises(Problem, match="were lost"):
        asyncio.run(every(never))
    assert len(tries) == MAX_TRIES


def test_what_a_killed_process_left_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"{scratch.PREFIX}999999999-x").mkdir()
    (tmp_path / f"{scratch.STUDIO_PREFIX}999999999-x").mkdir()
    (tmp_path / f"{scratch.PREFIX}{os.getpid()}-y").mkdir()
    (tmp_path / f"{scratch.WAY_PREFIX}999999999").symlink_to("gone")
    (tmp_path / "other").mkdir()
    scratch.clear_stale()
    assert {path.name for path in tmp_path.iterdir()} == {"other", f"{scratch.PREFIX}{os.getpid()}-y"}


def test_a_problem_comes_whole_from_another_process():
    told = Problem(429, "later", param="input", code="queue_full", headers={"Retry-After": "3"})
    found = pickle.loads(pickle.dumps(told))
    assert (found.status, found.content(), found.headers) == (429, told.content(), told.headers)


def test_ray_gets_a_short_way_to_a_deep_folder(tmp_path, monkeypatch):
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    cluster.shorten(("/nowhere", "/tmp"))
    short = os.environ["RAY_TMPDIR"]
    assert cluster.fits(short) and Path(short).resolve() == deep
    cluster.shorten()
    assert os.environ["RAY_TMPDIR"] == short, "what fits is left as it is"
    Path(short).unlink()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    with pytest.raises(ValueError, match=f"'{deep}' has {len(str(deep))} bytes.*RAY_TMPDIR"):
        cluster.shorten(("/nowhere",))


def reader(tmp_path, **defaults) -> Reader:
    return Reader(Library(str(tmp_path / "voices")), ROOT / "examples", "salt", defaults)


def test_tables_say_the_same_in_every_form(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [
        {"text": "Hello.", "voice": "rms", "seed": 3, "speaker": None, "speed": None},
        {"text": "Bye.", "voice": None, "seed": None, "speaker": "awb.flac", "speed": 1.5},
    ]
    (tmp_path / "a.jsonl").write_text(
        '{"text": "Hello.", "voice": "rms", "seed": 3}\n\n{"text": "Bye.", "speaker": "awb.flac", "speed": 1.5}\n'
    )
    (tmp_path / "a.csv").write_text("text,voice,seed,speaker,speed\nHello.,rms,3,,\nBye.,,,awb.flac,1.5\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    made = []
    for suffix in ("jsonl", "csv", "parquet"):
        made.append(
            [reader(tmp_path).row(i, row).name for i, row in enumerate(read_rows(tmp_path / f"a.{suffix}"))]
        )
    assert made[0] == made[1] == made[2] and len(set(made[0])) == 2


def test_a_name_is_the_hash_of_all_that_counts(tmp_path):
    def name(**values) -> str:
        return reader(tmp_path).row(0, {"text": "Hello.", "voice": "rms"} | values).name

    assert name() == name(chapter="x", gap=1) == name(seed=0) == name(speed=1.0) or name() == name(seed=0)
    assert len({name(), name(seed=1), name(text="Hello!"), name(voice="awb"), name(output_format="mp3")}) == 5
    same = reader(tmp_path).row(0, {"text": "Hello.", "speaker": "rms.flac"}).name
    assert same == name(), "a voice by another way is the same voice"
    again = [{"voice": "rms", "source_audio": clip} for clip in ("awb.flac", "kal16.flac")]
    rows = [reader(tmp_path).row(0, values) for values in again]
    assert len({row.name for row in rows} | {name(), name(adapter="awb.flac"), name(adapter="rms.flac")}) == 5
    assert rows[0].order.files == {"source_audio": (ROOT / "examples/awb.flac").read_bytes()}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"text": None}, "text is missing"),
        ({"text": ""}, "is empty|missing"),
        ({"voice": "nobody"}, "does not exist"),
        ({"voice": None}, "give a voice of the library or a speaker file"),
        ({"speaker": "rms.flac"}, "one of them"),
        ({"adapter": "none.zip"}, "adapter is 'none.zip'; there is no such file"),
        ({"source_audio": "rms.flac"}, "text and source_audio are given"),
        ({"voice": None, "speaker": "none.wav"}, "no such file"),
        ({"speed": 9}, "speed is 9; allowed"),
        ({"speed": "fast"}, "speed is not a number"),
        ({"other": 1}, "unknown column 'other'"),
        ({"receipt": True}, "unknown column 'receipt'"),
        ({"gap": -1}, "gap is -1; allowed"),
        ({"gap": "long"}, "could not convert|gap"),
        ({"text": "Hi [voice:nobody]"}, "does not exist"),
    ],
)
def test_a_bad_row_says_why(tmp_path, values, message):
    row = {k: v for k, v in ({"text": "Hello.", "voice": "rms"} | values).items() if v is not None}
    with pytest.raises(RowError, match=message) as refused:
        reader(tmp_path).row(0, row)
    assert "\n" not in str(refused.value)


def test_lines_that_are_none_and_tables_that_are_none(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": \n[1]\n{"text": "x"}\n')
    kinds = [type(row) for row in read_rows(tmp_path / "a.jsonl")]
    assert kinds == [RowError, RowError, dict]
    (tmp_path / "a.csv").write_text("text,seed\nHello.,x\na,1,2\n")
    assert [type(row) for row in read_rows(tmp_path / "a.csv")] == [RowError, RowError]
    for name in ("a.txt", "none.jsonl"):
        with pytest.raises(ValueError, match="the table"):
            list(read_rows(tmp_path / name))
