"""Folders of requests and of what a server leaves: each goes when it should."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.workspace import Inbox, Workspace


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Inbox().open()


def test_temporary_files_go_to_the_inbox_and_only_the_kept_ones_stay(inbox):
    kept, left = (tempfile.mkstemp()[1] for _ in range(2))
    folder = Path(tempfile.mkdtemp())
    (folder / "inner").write_text("x")
    (inbox.folder / "link").symlink_to(folder, target_is_directory=True)
    assert {Path(name).parent for name in (kept, left)} == {folder.parent} == {inbox.folder}
    inbox.clear(keep=[Path(kept)])
    assert [str(path) for path in inbox.folder.iterdir()] == [kept]
    inbox.clear()
    assert list(inbox.folder.iterdir()) == []


def test_clearing_follows_no_link(inbox, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (inbox.folder / "link").symlink_to(outside, target_is_directory=True)
    inbox.clear()
    assert (outside / "precious").read_text() == "x" and list(inbox.folder.iterdir()) == []


def test_a_folder_of_a_request_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace = Workspace()
    first = workspace.renew()
    Inbox().open().clear()
    assert first.is_dir() and first.parent == tmp_path
    second = workspace.renew()
    assert not first.exists() and second.is_dir() and second.parent == tmp_path


def test_a_folder_that_may_still_be_read_stays_for_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace = Workspace(kept_seconds=3600)
    with workspace.fresh() as first, workspace.fresh() as second:
        assert first != second
    with workspace.fresh() as third:
        assert first.is_dir() and second.is_dir()
        workspace.ended[first] -= 3601
        with workspace.fresh():
            assert not first.exists() and second.is_dir() and third.is_dir()
    workspace.clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_folder_of_a_request_that_fails_goes_at_once(tmp_path, monkeypatch, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace = Workspace()
    with pytest.raises(error), workspace.fresh() as folder:
        raise error
    assert not folder.exists() and not workspace.ended and not workspace.running


def test_a_folder_of_a_stream_that_was_left_stays_until_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workspace = Workspace()

    def stream():
        with workspace.fresh() as folder:
            yield folder

    left = stream()
    folder = next(left)
    left.close()
    assert folder.is_dir()
    with workspace.fresh():
        assert not folder.exists()


def test_both_go_when_the_process_ends(tmp_path):
    code = (
        "from service.workspace import *; Workspace().renew(); Inbox().open(); "
        "open(tempfile.mkstemp()[1], 'w').write('x')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
