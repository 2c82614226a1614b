"""Archives of strangers: nothing is written outside, nothing fills the disk."""

import io
import os
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.unpack import ArchiveError, Limits, safe_name, unpack


def zipped(path, members: dict[str, bytes], compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def tarred(path, *infos: tarfile.TarInfo, mode="w:gz"):
    with tarfile.open(path, mode) as packed:
        for info in infos:
            packed.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def info(name, kind=tarfile.REGTYPE, size=0, link=""):
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    return made


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_both_kinds_are_unpacked(tmp_path):
    assert unpack(zipped(tmp_path / "a", {"x/1.wav": b"1", "2.wav": b"2"}), tmp_path / "zip") == []
    assert unpack(tarred(tmp_path / "b", info("x/1.wav", size=1)), tmp_path / "tar") == []
    assert files(tmp_path / "zip") == ["2.wav", "x/1.wav"] and files(tmp_path / "tar") == ["x/1.wav"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "a\n.wav", "x" * 500]
)
def test_a_name_that_leads_out_is_refused_in_both(tmp_path, name):
    into = tmp_path / "deep" / "into"
    for archive in (zipped(tmp_path / "z", {name: b"1"}), tarred(tmp_path / "t", info(name, size=1))):
        with pytest.raises(ArchiveError, match="leads out|too long") as e:
            unpack(archive, into)
        assert "\n" not in str(e.value)
        assert files(tmp_path) == ["t", "z"] or files(tmp_path) == ["z"]


@given(st.text(min_size=1, max_size=60))
def test_no_name_leads_out(name):
    try:
        safe = safe_name(name, Limits())
    except ArchiveError:
        return
    assert os.path.normpath(os.path.join("/into", safe)).startswith("/into/")


def test_links_and_devices_are_left_out(tmp_path):
    archive = tarred(
        tmp_path / "t",
        info("link.wav", tarfile.SYMTYPE, link="/etc/passwd"),
        info("hard.wav", tarfile.LNKTYPE, link="/etc/passwd"),
        info("pipe.wav", tarfile.FIFOTYPE),
        info("good.wav", size=3),
    )
    left_out = unpack(archive, tmp_path / "into")
    assert len(left_out) == 3 and all("link or device" in line for line in left_out)
    assert files(tmp_path / "into") == ["good.wav"]
    entry = zipfile.ZipInfo("link.wav")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "z", "w") as packed:
        packed.writestr(entry, "/etc/passwd")
    assert unpack(tmp_path / "z", tmp_path / "zip") == ["link.wav: a link or device, not a file"]


def test_a_link_cannot_be_written_through(tmp_path):
    archive = tarred(
        tmp_path / "t", info("folder", tarfile.SYMTYPE, link=str(tmp_path)), info("folder/evil", size=1)
    )
    unpack(archive, tmp_path / "into")
    assert not (tmp_path / "evil").exists()


def test_bombs_end_early(tmp_path):
    zeros = bytes(50 * 2**20)
    bomb = zipped(tmp_path / "z", {"zeros.wav": zeros}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(ArchiveError, match="100 times"):
        unpack(bomb, tmp_path / "a")
    tar = tarred(tmp_path / "t", info("zeros.wav", size=50 * 2**20))
    with pytest.raises(ArchiveError, match="100 times"):
        unpack(tar, tmp_path / "b")
    assert sum(p.stat().st_size for p in tmp_path.rglob("zeros.wav")) < 25 * 2**20
    small = Limits(bytes=1000, files=3, member_bytes=900)
    with pytest.raises(ArchiveError, match="over 1,000 bytes"):
        unpack(zipped(tmp_path / "z2", {"a": b"x" * 600, "b": b"x" * 600}), tmp_path / "c", small)
    with pytest.raises(ArchiveError, match="over 3 files"):
        unpack(zipped(tmp_path / "z3", {str(i): b"" for i in range(4)}), tmp_path / "d", small)
    with pytest.raises(ArchiveError, match="allowed: 900 a file"):
        unpack(zipped(tmp_path / "z4", {"a": b"x" * 950}), tmp_path / "e", small)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubles_are_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as packed:
        packed.writestr("a.wav", "1")
        packed.writestr("a.wav", "2")
    assert unpack(tmp_path / "z", tmp_path / "into") == ["a.wav: is in the archive twice"]
    assert (tmp_path / "into/a.wav").read_text() == "1"
    both = zipped(tmp_path / "z2", {"a": b"1", "a/b": b"2"})
    with pytest.raises(ArchiveError, match="one name"):
        unpack(both, tmp_path / "both")


def test_what_is_no_archive_or_broken(tmp_path):
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(ArchiveError, match="no ZIP or TAR"):
        unpack(tmp_path / "text", tmp_path / "a")
    whole = zipped(tmp_path / "z", {"a": b"x" * 1000}).read_bytes()
    (tmp_path / "broken").write_bytes(whole[:100] + b"\0" * 50 + whole[150:])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(tmp_path / "broken", tmp_path / "b")
    tar = tarred(tmp_path / "t", info("a", size=100_000), mode="w").read_bytes()
    (tmp_path / "short").write_bytes(tar[:50_000])
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(tmp_path / "short", tmp_path / "c")
