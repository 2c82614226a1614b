"""Everything a server can do wrong, on the hub and on a mirror: the outcome, the message, and that nothing
half-done ever has a final name."""

from __future__ import annotations

import hashlib
import logging
import threading
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from fetching.manifest import Transfer
from fetching.partial import plan_parts
from tests.weights.conftest import BIG, SMALL, TRANSFER, Project, content
from tests.weights.server import Fault, Server
from weights import WeightsError, ensure

FOREVER = 50
HTML = b"<!DOCTYPE html>\n<html><body>Please sign in to the hotel's network</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:12ab\nsize 1000003\n"


@pytest.fixture(params=["hub", "mirror"])
def source(request, server: Server, project: Project, files, monkeypatch) -> Server:
    """The hub, which announces hashes, and a mirror whose hashes are in the manifest."""
    if request.param == "hub":
        monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    else:
        monkeypatch.setenv("INDEXTTS_WEIGHTS_URL", server.mirror_url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        project.pin(files)
    return server


def assert_fetched(project: Project, files: dict[str, bytes]) -> None:
    ensure(**project.arguments)
    assert project.present() == sorted(files)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def assert_refused(project: Project, *patterns: str) -> str:
    """Fails, says why in one line, and leaves nothing of the big file."""
    with pytest.raises(WeightsError) as caught:
        ensure(**project.arguments)
    message = str(caught.value)
    assert "\n" not in message and f"missing {BIG}" in message
    for pattern in patterns:
        assert pattern in message
    assert not (project.directory / BIG).exists()
    assert (project.directory / SMALL).exists()
    return message


def test_connection_cut_in_the_middle_goes_on_from_there(source, project, files):
    source.faults[BIG] = [Fault(cut=3000), Fault(cut=0), Fault(cut=10_000), Fault(cut=40_000), Fault(cut=1)]
    assert_fetched(project, files)
    assert (
        source.bytes_sent[BIG] <= len(files[BIG]) + 3000
    )  # only the first request, which is read whole, repeats


def test_connection_that_is_always_cut_is_given_up(source, project):
    source.faults[BIG] = [Fault(cut=0) for _ in range(FOREVER)]
    assert_refused(project, "gave up after 4 attempts", f"/{BIG}")


@pytest.mark.parametrize("status, says", [(404, "HTTP 404"), (403, "HF_TOKEN"), (410, "HTTP 410")])
def test_final_status_is_not_tried_again(source, project, status, says):
    source.faults[BIG] = [Fault(status=status) for _ in range(FOREVER)]
    assert_refused(project, says, f"/{BIG}")
    assert len(source.faults[BIG]) == FOREVER - 1


def test_server_errors_pass(source, project, files, caplog):
    source.faults[BIG] = [Fault(status=500), Fault(status=503), Fault(), Fault(status=502)]
    assert_fetched(project, files)
    assert "attempt 2 of 4" in caplog.text


def test_server_errors_that_stay_are_reported(source, project):
    source.faults[BIG] = [Fault(status=500) for _ in range(FOREVER)]
    assert_refused(project, "HTTP 500", "gave up after 4 attempts")
    assert len(source.faults[BIG]) == FOREVER - 4


@pytest.mark.parametrize("source, form", [("hub", "seconds"), ("mirror", "date")], indirect=["source"])
def test_retry_after_is_obeyed(source, project, files, form, monkeypatch, caplog):
    now = 1_800_000_000  # a clock that stands: how long the answer takes does not count
    monkeypatch.setattr("fetching.retry.time", SimpleNamespace(time=lambda: now))
    wait = "1" if form == "seconds" else formatdate(now + 1, usegmt=True)
    source.faults[BIG] = [Fault(status=429, headers={"Retry-After": wait})]
    assert_fetched(project, files)
    assert "attempt 2 of 4 in 1.0 s" in caplog.text


def test_retry_after_that_is_too_long_is_an_error(source, project):
    source.faults[BIG] = [Fault(status=429, headers={"Retry-After": "3600"})]
    assert_refused(project, "HTTP 429", "asks to wait 3600 s")


@pytest.mark.parametrize("length", [999_999, 1_000_017, 0])
def test_wrong_length_is_fetched_again_once_and_named(source, project, files, length):
    wrong = (files[BIG] + bytes(100))[:length]
    source.faults[BIG] = [Fault(body=wrong, ranges=False) for _ in range(FOREVER)]
    assert_refused(
        project,
        f"/{BIG}: a file of another length: the server announces {length} bytes",
        "expected 1000003 bytes",
        hashlib.sha256(files[BIG]).hexdigest(),
    )
    assert len(source.faults[BIG]) == FOREVER - 2


def test_wrong_length_once_is_only_a_warning(source, project, files, caplog):
    source.faults[BIG] = [Fault(body=files[BIG][:-1])]
    assert_fetched(project, files)
    assert "fetching it again" in caplog.text


def test_flipped_bit_is_fetched_again(source, project, files, caplog):
    flipped = bytearray(files[BIG])
    flipped[777_777] ^= 16
    parts = plan_parts(TRANSFER["first_bytes"], len(flipped), Transfer(**TRANSFER))
    source.faults[BIG] = [Fault(body=bytes(flipped)) for _ in range(1 + len(parts))]  # all of the first try
    assert_fetched(project, files)
    assert (
        f"wrong content; expected 1000003 bytes, sha256 {hashlib.sha256(files[BIG]).hexdigest()}"
        in caplog.text
    )


def test_flipped_bit_that_stays_is_reported_with_both_hashes(source, project, files):
    flipped = bytearray(files[BIG])
    flipped[777_777] ^= 16
    source.faults[BIG] = [Fault(body=bytes(flipped)) for _ in range(2 * FOREVER)]
    assert_refused(
        project,
        "wrong content",
        hashlib.sha256(files[BIG]).hexdigest(),
        f"came 1000003 bytes, sha256 {hashlib.sha256(flipped).hexdigest()}, 2 times",
        "http://127.0.0.1",
    )


def test_flipped_bit_in_a_small_file(hub, project, files):
    """The hub announces git's hash, not sha256, of a small file: that is held too."""
    hub.faults[SMALL] = [Fault(body=b"version: 3.0\n") for _ in range(FOREVER)]
    with pytest.raises(
        WeightsError, match=f"{SMALL}: wrong content; expected 13 bytes, git sha1 [0-9a-f]{{40}}"
    ):
        ensure(**project.arguments)
    assert project.present() == [BIG]


@pytest.mark.parametrize(
    "page, says",
    [
        (HTML, "an HTML page instead"),
        (POINTER, "a Git LFS pointer instead"),
        (b"<?xml version='1.0'?><Error/>", "an XML message instead"),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_page_instead_of_a_file_is_called_what_it_is(source, project, page, says, ranges):
    source.faults[BIG] = [Fault(body=page, ranges=ranges) for _ in range(FOREVER)]
    assert_refused(project, says, f"/{BIG}")
    assert len(source.faults[BIG]) == FOREVER - 2


@pytest.mark.parametrize(
    "page, says",
    [
        (HTML, "an HTML page"),
        (POINTER, "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"not found", "not a PyTorch file"),
    ],
)
def test_page_is_refused_even_where_nobody_knows_a_hash(mirror, project, page, says, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    mirror.bucket_files[BIG] = page
    assert_refused(project, says if page else f"{BIG}")


def test_redirect_to_another_port_is_followed(source, project, files):
    with Server() as other:
        other.hub_files, other.bucket_files = source.hub_files, source.bucket_files
        source.redirect = other.hub_url
        assert_fetched(project, files)
        assert other.bytes_sent[BIG] == len(files[BIG])


def test_endless_redirect_is_refused(source, project, monkeypatch):
    source.redirect = source.cdn_url
    with pytest.raises(WeightsError, match="redirect"):
        ensure(**project.arguments)


def test_signed_url_that_runs_out_is_asked_for_again(hub, project, files):
    # one: of two the second may meet the first one's second attempt
    hub.faults[BIG] = [Fault(), Fault(status=403)]
    assert_fetched(project, files)
    assert hub.bytes_sent[BIG] == len(files[BIG])


def test_server_without_ranges_is_asked_for_the_whole_file_once(source, project, files):
    source.ranges = False
    assert_fetched(project, files)
    assert source.bytes_sent[BIG] == len(files[BIG])


def test_server_without_ranges_that_cuts_is_read_again_from_the_start(source, project, files):
    source.ranges = False
    source.faults[BIG] = [Fault(cut=600_000), Fault(cut=300_000)]
    assert_fetched(project, files)


def test_server_that_stops_doing_ranges_half_way(source, project, files):
    source.faults[BIG] = [Fault(), Fault(), Fault(ranges=False), Fault(), Fault(ranges=False)]
    assert_fetched(project, files)


def test_server_that_tells_no_length(source, project, files):
    source.ranges = False
    source.faults[BIG] = [Fault(length=False)]
    source.faults[SMALL] = [Fault(length=False)]
    assert_fetched(project, files)


def test_file_cut_by_a_server_that_tells_no_length(source, project, files):
    source.ranges = False
    source.faults[BIG] = [Fault(length=False, cut=500_000) for _ in range(FOREVER)]
    assert_refused(project)


def test_drip_is_given_up_and_fetched_anew(source, project, files, caplog):
    source.faults[BIG] = [Fault(), Fault(pause=0.05)]  # 20 bytes per second; the tests' minimum is 1000
    assert_fetched(project, files)
    assert "bytes/s" in caplog.text


def test_drip_that_stays_is_an_error(source, project, files):
    project.pin(files, attempts=2)
    source.faults[BIG] = [Fault(pause=0.05) for _ in range(FOREVER)]
    assert_refused(project, "only", "bytes/s", "gave up after 2 attempts")


def test_silence_is_given_up(source, project, files, caplog):
    silence = threading.Event()
    source.faults[BIG] = [Fault(), Fault(cut=2000, hold=silence)]
    try:
        assert_fetched(project, files)
    finally:
        silence.set()
    assert "timed out" in caplog.text


def test_compressed_answer_is_refused(source, project):
    source.faults[BIG] = [Fault(headers={"Content-Encoding": "gzip"}) for _ in range(FOREVER)]
    assert_refused(project, "Content-Encoding gzip")


def test_mirror_file_that_changes_during_the_fetch_is_noticed(mirror, project, files):
    """Without a hash, the length is what is left to compare."""
    mirror.faults[BIG] = [Fault(), Fault(body=content(900_000))]
    ensure(**project.arguments)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_several_files_fail_and_all_are_named(hub, project, caplog):
    names = [f"part-{index}.bin" for index in range(3)]
    project.files([SMALL, *names])
    with pytest.raises(WeightsError, match="missing part-0.bin, part-1.bin, part-2.bin"):
        ensure(**project.arguments)
    assert project.present() == [SMALL]


def test_progress_reads_well_in_a_log(hub, project, caplog):
    caplog.set_level(logging.INFO, logger="fetching.progress")
    hub.faults[BIG] = [Fault(), Fault(pause=0.05)]
    ensure(**project.arguments)
    lines = [record.getMessage() for record in caplog.records if record.name == "fetching.progress"]
    assert any(
        line.startswith("fetch: ") and " of 1 MB (" in line and line.endswith("left") for line in lines
    )
    assert lines[-1].startswith("fetched 1 MB in ")
