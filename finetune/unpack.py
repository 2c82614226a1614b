"""A stranger's ZIP or TAR file unpacked: into one folder, bounded, regular files only."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Limits:
    """Of all that is unpacked; `ratio`: of a member's size to what it takes in the archive, once it is above
    `free_bytes`."""

    files: int = 50_000
    bytes: int = 20 * 2**30
    member_bytes: int = 2 * 2**30
    ratio: float = 100.0
    free_bytes: int = 2**20
    name_characters: int = 400


class ArchiveError(ValueError):
    """An archive that is not unpacked: one line with what is wrong."""


@dataclass(frozen=True)
class Member:
    """name as the archive has it; size as it claims, packed: what it takes in the archive, None where that is not
    told; regular: a file and no link, device or the like."""

    name: str
    size: int
    packed: int | None
    regular: bool


def unpack(archive: Path, folder: Path, limits: Limits = Limits()) -> list[str]:
    """Write the files of an archive into `folder`; returns what was left out and why. Nothing is written outside.

    Raises ArchiveError for what is no archive, for one that is damaged or a bomb, and for a name that leads out."""
    left_out: list[str] = []
    written = count = 0
    try:
        for member, source in members(archive):
            count += 1
            if count > limits.files:
                raise ArchiveError(f"the archive has over {limits.files:,} files")
            if not member.regular:
                left_out.append(f"{shown(member.name)}: a link or device, not a file")
                continue
            path = folder / safe_name(member.name, limits)
            if member.size > limits.member_bytes:
                raise ArchiveError(
                    f"{shown(member.name)} has {member.size:,} bytes; allowed: {limits.member_bytes:,} a file"
                )
            if path.exists():
                left_out.append(f"{shown(member.name)}: is in the archive twice")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            written += write(path, source, member, limits, limits.bytes - written)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as e:
        raise ArchiveError(f"the archive is damaged: {' '.join(str(e).split())[:120]}") from e
    except (FileExistsError, NotADirectoryError) as e:
        raise ArchiveError("the archive uses one name for a file and a folder") from e
    return left_out


def members(archive: Path) -> Iterator[tuple[Member, IO[bytes]]]:
    """Every entry that is no folder, with its content to read before the next."""
    if not stat.S_ISREG(archive.lstat().st_mode):
        raise ArchiveError("the dataset is not a regular file")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if entry.is_dir():
                    continue
                mode = entry.external_attr >> 16
                regular = not mode or stat.S_ISREG(mode) or not stat.S_IFMT(mode)
                with opened.open(entry) as source:
                    yield Member(entry.filename, entry.file_size, entry.compress_size, regular), source
        return
    if not tarfile.is_tarfile(archive):
        raise ArchiveError("the dataset is no ZIP or TAR file")
    with tarfile.open(archive) as tar:
        packed = archive.stat().st_size
        for info in tar:
            if info.isdir():
                continue
            content = tar.extractfile(info) if info.isreg() and not info.issparse() else None
            yield Member(info.name, info.size, packed, content is not None), content or io.BytesIO()


def safe_name(name: str, limits: Limits) -> str:
    """The name as a path inside a folder. Raises ArchiveError for one that leads out of it or cannot be one."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part != "."]
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in parts or drive or not parts:
        raise ArchiveError(f"the archive has a file that leads out of it: {shown(name)}")
    if len(name) > limits.name_characters or any(ord(sign) < ord(" ") for sign in name):
        raise ArchiveError(
            f"the archive has a file whose name is too long or has control signs: {shown(name)}"
        )
    return "/".join(parts)


def write(path: Path, source: IO[bytes], member: Member, limits: Limits, room: int) -> int:
    """Bytes written; whatever a header claims, no more than is allowed."""
    done = 0
    with path.open("xb") as file:
        while chunk := source.read(CHUNK_BYTES):
            done += len(chunk)
            if done > room:
                raise ArchiveError(f"the archive unpacks to over {limits.bytes:,} bytes")
            if done > limits.member_bytes:
                raise ArchiveError(f"{shown(member.name)} has over {limits.member_bytes:,} bytes")
            if member.packed is not None and done > limits.free_bytes + limits.ratio * member.packed:
                raise ArchiveError(
                    f"{shown(member.name)} unpacks to over {limits.ratio:g} times what it takes in the archive"
                )
            file.write(chunk)
    return done


def shown(name: str) -> str:
    """A name for a message: short, printable."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)[:80]
