"""The small rules: how a file is cut, what survives a process, how long to wait, what a log may show."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fetching.http import redact
from fetching.manifest import Transfer, load_manifest
from fetching.partial import Part, Partial, plan_parts
from fetching.progress import Meter, in_bytes, in_time
from fetching.retry import seconds_until
from fetching.verify import impostor
from tests.weights.conftest import TRANSFER

TRANSFERS = [load_manifest().transfer, Transfer(**TRANSFER)]


@given(st.sampled_from(TRANSFERS), st.integers(0, 10**10), st.integers(0, 10**10))
def test_parts_cover_the_range_once_and_keep_their_limits(transfer, start, length):
    parts = plan_parts(start, start + length, transfer)
    edges = [start, *(part.end for part in parts)]
    assert [part.start for part in parts] == edges[:-1] and edges[-1] == start + length
    assert all(part.done == part.start < part.end for part in parts)
    sizes = [part.end - part.start for part in parts]
    assert all(size <= transfer.part_bytes_max for size in sizes)
    assert all(size >= transfer.part_bytes_min for size in sizes[:-1]) and sizes == sorted(
        sizes, reverse=True
    )


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2_000_000), min_size=2, max_size=12, unique=True).map(sorted))
def test_a_new_process_plans_exactly_what_is_missing(tmp_path_factory, edges):
    """Pieces that are there, saved and loaded: they and the planned parts cover the file once."""
    folder, total = tmp_path_factory.mktemp("partial"), 2_000_000
    there = list(zip(edges[::2], edges[1::2], strict=False))
    partial = Partial(folder / "file", "hash")
    partial.total, partial.parts = total, [Part(start, end, end) for start, end in there]
    partial.path.write_bytes(bytes(total))
    partial.save()
    again = Partial(folder / "file", "hash")
    assert again.path == partial.path and again.have == sum(end - start for start, end in there)
    again.plan(total, Transfer(**TRANSFER))
    assert [part.start for part in again.parts] == [0, *(part.end for part in again.parts[:-1])]
    assert again.parts[-1].end == total
    assert [(part.start, part.end) for part in again.parts if part.complete] == there
    other = Partial(folder / "file", "another hash")
    assert other.have == 0 and other.path != partial.path and not list(folder.iterdir())


def test_leading_bytes_stop_at_the_first_gap(tmp_path):
    partial = Partial(tmp_path / "file", "hash")
    partial.parts = [Part(0, 100, 100), Part(100, 200, 150), Part(200, 300, 300)]
    assert partial.leading == 150 and partial.have == 250


@pytest.mark.parametrize(
    "value, seconds",
    [("7", 7), (" 0 ", 0), ("soon", None), (None, None), ("", None), (formatdate(0, usegmt=True), 0)],
)
def test_retry_after(value, seconds):
    assert seconds_until(value) == seconds


def test_retry_after_as_a_date_to_come():
    assert 50 < seconds_until(formatdate(time.time() + 60, usegmt=True)) <= 60


@pytest.mark.parametrize(
    "url, shown",
    [
        ("https://user:word@host:8080/a/b?sig=1#x", "https://host:8080/a/b"),
        ("http://host/a", "http://host/a"),
    ],
)
def test_secrets_of_a_url_are_not_shown(url, shown):
    assert redact(url) == shown


@pytest.mark.parametrize(
    "head, says",
    [
        (b"\xef\xbb\xbf\n <!doctype HTML>", "HTML"),
        (b"<html lang=en>", "HTML"),
        (b"<?xml version", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"PK\x03\x04", None),
        (b"version: 2.0", None),
        (b"", None),
    ],
)
def test_what_is_no_model_file_is_seen_in_its_first_bytes(head, says):
    found = impostor(head)
    assert found is None if says is None else says in found


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (512_000_000, "512 MB"),
        (3_410_000_000, "3.41 GB"),
        (999_999, "1 MB"),
    ],
)
def test_bytes_for_a_person(count, text):
    assert in_bytes(count) == text


@pytest.mark.parametrize(
    "seconds, text", [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (7322, "2 h 02 min")]
)
def test_time_for_a_person(seconds, text):
    assert in_time(seconds) == text


def test_progress_counts_only_what_was_fetched_into_the_rate():
    meter = Meter(1000, 60.0)
    meter.add(600, fetched=False)
    assert "600 B of 1 kB (60 %)" in meter.line() and meter.line().endswith("unknown time left")
    meter.began -= 10
    meter.add(200)
    assert meter.line() == "fetch: 800 B of 1 kB (80 %), 20 B/s, 10 s left"
