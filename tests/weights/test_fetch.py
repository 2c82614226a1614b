"""A whole directory from a hub and from a mirror: what is fetched, from where, and on whose word."""

from __future__ import annotations

import hashlib
import json
import logging
import os

import pytest

from fetching.http import may_carry_token
from tests.weights.conftest import BIG, NOBODY, SMALL, Project, content
from tests.weights.server import COMMIT, Fault
from weights import WeightsError, ensure


def assert_complete(project: Project, files: dict[str, bytes]) -> None:
    assert project.present() == sorted(files)
    for name, data in files.items():
        assert (project.directory / name).read_bytes() == data


def test_hub_is_fetched_once_and_a_warm_start_asks_nobody(hub, project, files):
    assert ensure(**project.arguments) == project.directory
    assert_complete(project, files)
    assert hub.bytes_sent == {name: len(data) for name, data in files.items()}
    asked = len(hub.requests)
    ensure(**project.arguments)
    assert len(hub.requests) == asked


def test_large_file_comes_in_parallel_parts(hub, project):
    ensure(**project.arguments)
    ranges = [request.range for request in hub.gets(BIG) if request.port == hub.cdn.server_port]
    assert len(ranges) > 4 and len(set(ranges)) == len(ranges)


def test_hub_url_is_pinned_to_the_announced_commit(hub, project):
    ensure(**project.arguments)
    paths = {
        request.path for request in hub.requests if request.method == "GET" and "resolve" in request.path
    }
    assert paths and all(f"/resolve/{COMMIT}/" in path for path in paths)


def test_token_goes_to_the_hub_and_not_to_where_it_redirects(hub, project, files, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ensure(**project.arguments)
    assert_complete(project, files)
    to_hub = [request for request in hub.requests if request.port == hub.hub.server_port]
    to_cdn = [request for request in hub.requests if request.port == hub.cdn.server_port]
    assert to_cdn and all(request.authorization is None for request in to_cdn)
    assert to_hub and all(request.authorization == "Bearer hf_secret" for request in to_hub)
    assert "hf_secret" not in caplog.text
    assert not any(
        "signature" in record.getMessage() for record in caplog.records if record.name.startswith("fetch")
    )


@pytest.mark.parametrize(
    "url, allowed",
    {
        "https://huggingface.co": True,
        "http://huggingface.co": False,
        "http://10.0.0.7:8080": False,
        "http://127.0.0.1.example.com": False,
        "http://127.0.0.1@example.com": False,
        "http://127.9.9.9:1": True,
        "http://[::1]:8080": True,
        "http://localhost:8080": True,
        "ftp://huggingface.co": False,
    }.items(),
)
def test_where_a_token_may_go(url, allowed, monkeypatch):
    assert may_carry_token(url) is allowed
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")  # then it leaves the machine in the clear
    assert may_carry_token(url) is (allowed and url.startswith("https:"))


def test_gated_repository_says_which_variable_to_set(hub, project):
    hub.token = "hf_secret"
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        ensure(**project.arguments)
    assert project.present() == []


def test_mirror_is_preferred_to_the_hub(mirror, project, files, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", mirror.hub_url)
    ensure(**project.arguments)
    assert_complete(project, files)
    assert not any("resolve" in request.path for request in mirror.requests)


def test_mirror_with_a_signed_root_keeps_the_signature_out_of_the_log(
    mirror, project, files, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG, logger="fetching")
    monkeypatch.setenv(
        "INDEXTTS_WEIGHTS_URL", mirror.mirror_url.replace("//", "//user:word@") + "/?sig=hidden"
    )
    ensure(**project.arguments)
    assert_complete(project, files)
    assert "hidden" not in caplog.text and "word@" not in caplog.text


def test_hub_provides_what_the_mirror_lacks(mirror, project, files, monkeypatch, caplog):
    del mirror.bucket_files[BIG]
    monkeypatch.setenv("HF_ENDPOINT", mirror.hub_url)
    ensure(**project.arguments)
    assert_complete(project, files)
    assert any("/resolve/" in request.path for request in mirror.gets(BIG))
    assert not any("/resolve/" in request.path for request in mirror.gets(SMALL))


@pytest.mark.parametrize("where", ["here", "on the mirror"])
def test_lock_decides_what_a_mirror_may_deliver(mirror, project, files, where, caplog, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    caplog.set_level(logging.INFO, logger="fetching")
    lock = {
        "models": {
            "toy": {
                "files": {
                    name: {
                        "repository": "org/model",
                        "revision": COMMIT,
                        "file": name,
                        "size": len(data),
                        "sha256": hashlib.sha256(data).hexdigest(),
                    }
                    for name, data in files.items()
                },
                "absent": [],
            }
        }
    }
    if where == "here":
        project.lock.write_text(json.dumps(lock))
    else:
        mirror.bucket_files["weights.lock.json"] = json.dumps(lock).encode()
    flipped = bytearray(files[BIG])
    flipped[500_000] ^= 1
    mirror.faults[BIG] = [Fault()] * 2
    mirror.bucket_files[BIG] = bytes(flipped)
    with pytest.raises(
        WeightsError,
        match=f"wrong content; expected 1000003 bytes, sha256 "
        f"{hashlib.sha256(files[BIG]).hexdigest()}.*came 1000003 bytes",
    ):
        ensure(**project.arguments)
    assert project.present() == [SMALL]
    mirror.bucket_files[BIG] = files[BIG]
    ensure(**project.arguments)
    assert_complete(project, files)
    assert f"verified by the lock{' of the mirror' if where == 'on the mirror' else ''}" in caplog.text


def test_log_tells_which_trust_was_used(hub, project, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="fetching")
    ensure(**project.arguments)
    assert "verified by the announcement of the hub" in caplog.text
    caplog.clear()
    monkeypatch.setenv("INDEXTTS_WEIGHTS_URL", hub.mirror_url)
    project.directory = project.directory.with_name("other")
    ensure(**project.arguments)
    assert "verified by its length only" in caplog.text


def test_optional_file_that_is_not_published_is_no_error_and_is_not_asked_for_again(hub, project, files):
    project.files([SMALL, BIG, {"file": "glossary.yaml", "optional": True}])
    ensure(**project.arguments)
    assert_complete(project, files)
    asked = len(hub.requests)
    ensure(**project.arguments)
    assert len(hub.requests) == asked


def test_file_that_names_another_brings_that_too(hub, project, files):
    files |= {"denoiser/last": b"best.bin\n", "denoiser/best.bin": content(5000, 1)}
    hub.hub_files.update(files)
    project.files([SMALL, BIG, {"file": "denoiser/last", "names_checkpoint": True}])
    ensure(**project.arguments)
    assert_complete(project, files)


@pytest.mark.parametrize("name", [b"../escape", b"/etc/passwd", b"a b", b"", b".hidden"])
def test_file_that_names_something_odd_is_refused(hub, project, name):
    hub.hub_files["last"] = name or b" "
    project.files([{"file": "last", "names_checkpoint": True}])
    with pytest.raises(WeightsError, match="expected the name of one file beside it"):
        ensure(**project.arguments)
    assert project.present() == ["last"]


# --- what already lies in the directory -------------------------------------------------------


def test_files_put_there_by_hand_are_hashed_and_used(hub, project, files):
    project.directory.mkdir()
    for name, data in files.items():
        (project.directory / name).write_bytes(data)
    ensure(**project.arguments)
    assert hub.bytes_sent == {}


def test_files_put_there_by_hand_are_used_without_any_network(project, files, caplog):
    project.files([SMALL, BIG], **NOBODY)
    caplog.set_level(logging.INFO, logger="fetching")
    project.directory.mkdir()
    for name, data in files.items():
        (project.directory / name).write_bytes(data)
    ensure(**project.arguments)
    assert "verified by its form only" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "flipped", "lfs", "html"])
def test_wrong_file_in_the_directory_is_set_aside_and_fetched(hub, project, files, damage, caplog):
    wrong = {
        "truncated": files[BIG][:-7],
        "flipped": files[BIG][:-1] + b"!",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1000003\n",
        "html": b"<!DOCTYPE html><html>sign in</html>",
    }[damage]
    project.directory.mkdir()
    (project.directory / BIG).write_bytes(wrong)
    ensure(**project.arguments)
    assert (project.directory / BIG).read_bytes() == files[BIG]
    assert (project.directory / f"{BIG}.refused").read_bytes() == wrong
    assert {
        "truncated": "wrong length",
        "flipped": "wrong content",
        "lfs": "a Git LFS pointer",
        "html": "an HTML page",
    }[damage] in caplog.text


def test_pointer_in_the_directory_is_refused_even_without_any_network(project):
    project.files([SMALL, BIG], **NOBODY)
    project.directory.mkdir()
    (project.directory / SMALL).write_bytes(b"version: 2.0\n")
    (project.directory / BIG).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match=f"missing {BIG}.*{BIG}: a Git LFS pointer"):
        ensure(**project.arguments)
    assert project.present() == [SMALL, f"{BIG}.refused"]


def test_file_changed_after_it_was_verified_is_noticed(hub, project, files):
    ensure(**project.arguments)
    changed = bytearray(files[BIG])
    changed[10] ^= 1
    (project.directory / BIG).write_bytes(changed)
    ensure(**project.arguments)
    assert (project.directory / BIG).read_bytes() == files[BIG]


def test_verified_marker_outlives_an_archive_that_keeps_whole_seconds(hub, project):
    ensure(**project.arguments)
    for name in (SMALL, BIG):
        path = project.directory / name
        os.utime(path, (int(path.stat().st_mtime), int(path.stat().st_mtime)))
    asked = len(hub.requests)
    ensure(**project.arguments)
    assert len(hub.requests) == asked


def test_unreadable_marker_means_verifying_again(hub, project, caplog):
    ensure(**project.arguments)
    (project.directory / ".verified.json").write_text("{")
    sent = dict(hub.bytes_sent)
    ensure(**project.arguments)
    assert "cannot be read" in caplog.text and hub.bytes_sent == sent


def test_new_lock_makes_an_old_file_be_fetched_again(hub, project, files):
    ensure(**project.arguments)
    files[BIG] = hub.hub_files[BIG] = content(1_000_003, seed=7)
    project.pin(files)
    ensure(**project.arguments)
    assert (project.directory / BIG).read_bytes() == files[BIG]


# --- nowhere to be found ----------------------------------------------------------------------


@pytest.mark.parametrize("offline", [False, True])
def test_no_weights_and_no_network_says_what_where_and_how(project, monkeypatch, offline):
    project.files([SMALL, BIG], **NOBODY)
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError) as caught:
        ensure(**project.arguments)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        SMALL,
        BIG,
        str(project.directory),
        "INDEXTTS_WEIGHTS_URL is not set",
        "http://127.0.0.1:9",
        "INDEXTTS_WEIGHTS_DIR",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "weights.py fetch --model toy",
    ):
        assert part in message
    assert ("HF_HUB_OFFLINE is set" in message) == offline
    assert project.present() == []


def test_offline_hub_is_not_asked_but_the_mirror_is(mirror, project, files, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", mirror.hub_url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ensure(**project.arguments)
    assert_complete(project, files)
    assert not any("resolve" in request.path for request in mirror.requests)


def test_directory_of_the_environment_is_used(hub, project, files, monkeypatch, tmp_path):
    monkeypatch.setenv("INDEXTTS_WEIGHTS_DIR", str(tmp_path / "elsewhere"))
    arguments = {**project.arguments, "directory": None}
    assert ensure(**arguments) == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere" / BIG).read_bytes() == files[BIG]


@pytest.mark.parametrize("variable", ["INDEXTTS_WEIGHTS_URL", "HF_ENDPOINT"])
def test_address_that_is_no_url_is_named(project, monkeypatch, variable):
    monkeypatch.setenv(variable, "bucket/weights")
    with pytest.raises(WeightsError, match=f"{variable} is 'bucket/weights'; expected an http"):
        ensure(**project.arguments)


def test_disk_too_small_is_said_before_the_first_byte(hub, project):
    project.files([SMALL, BIG], spare_bytes=1 << 60)
    with pytest.raises(WeightsError, match="not enough disk space in .* 1 MB for 2 files"):
        ensure(**project.arguments)
    assert hub.bytes_sent == {} and project.present() == []
