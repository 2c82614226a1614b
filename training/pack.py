"""The corpus in one small file, to be trained from on another machine:

    python -m training.pack make FILE [--work FOLDER] [--megabytes 44] [--kbits 24] [--voices 0.8]
    python -m training.pack open FILE --work FOLDER      then: python -m training.tiny_en --device cuda bank semantic …

Sound becomes Opus (ffmpeg); texts, speakers and phone timings are
kept as they are. Only whole shards of the caches are packed, as the caches wait for whole ones.
"""

import argparse
import io
import json
import logging
import subprocess
import tarfile
from pathlib import Path

from training.data import MANIFEST
from training.features import CLIPS_PER_SHARD
from training.tiny_en import default_work
from training.workspace import PARTS

ENCODE_SECONDS = 60
MEGABYTE = 1_000_000
MANY_VOICES, ONE_VOICE = PARTS
logger = logging.getLogger(__name__)


def encode(path: Path, kbits: int) -> bytes:
    """A sound file as Ogg Opus of one channel. ValueError when ffmpeg cannot read it."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-c:a", "libopus", "-b:a", f"{kbits}k"]
    try:
        done = subprocess.run(
            [*command, "-f", "ogg", "-"], check=True, capture_output=True, timeout=ENCODE_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"ffmpeg cannot encode {path}: {error}") from error
    return done.stdout


def whole_shards(manifest: Path, shard: int) -> list[list[dict]]:
    """The records of a manifest by shard of `shard` clips, without the shards that lack clips."""
    by_shard: dict[int, list[dict]] = {}
    for line in manifest.read_text("utf-8").splitlines() if manifest.exists() else ():
        record = json.loads(line)
        by_shard.setdefault(record["index"] // shard, []).append(record)
    return [records for _, records in sorted(by_shard.items()) if len(records) == shard]


def make_pack(
    work: Path, target: Path, megabytes: float, kbits: int, voices: float, shard: int = CLIPS_PER_SHARD
) -> dict[str, int]:
    """Write the pack: shards of many voices up to a share `voices` of its size, then of the one voice; returns how many
    clips of each part are in it. ValueError when not one shard is whole or fits."""
    packed, used = {}, 0
    with tarfile.open(target, "w:gz") as archive:
        for part, limit in ((MANY_VOICES, voices * megabytes), (ONE_VOICE, megabytes)):
            lines: list[str] = []
            for records in whole_shards(work / part / MANIFEST, shard):
                sounds = [encode(work / part / record["audio"], kbits) for record in records]
                text = [
                    json.dumps(
                        record | {"audio": str(Path(record["audio"]).with_suffix(".ogg"))}, ensure_ascii=False
                    )
                    for record in records
                ]
                size = sum(map(len, sounds)) + sum(map(len, text)) // 4  # as gzip leaves of text
                if used + size > limit * MEGABYTE:
                    break
                used += size
                for record, sound in zip(records, sounds, strict=True):
                    _add(archive, f"{part}/{Path(record['audio']).with_suffix('.ogg')}", sound)
                lines += text
            _add(archive, f"{part}/{MANIFEST}", "".join(line + "\n" for line in lines).encode())
            packed[part] = len(lines)
            logger.info("%s: %d clips, %.1f MB so far", part, len(lines), used / MEGABYTE)
    if not any(packed.values()):
        target.unlink()
        raise ValueError(f"{work} has no whole shard of {shard} clips that fits into {megabytes} MB")
    return packed


def open_pack(pack: Path, work: Path) -> None:
    """Lay the corpus of a pack into a work folder; ValueError if it has one already."""
    for part in PARTS:
        if (work / part / MANIFEST).exists():
            raise ValueError(f"{work / part} has a corpus already; give another folder")
    with tarfile.open(pack) as archive:
        archive.extractall(work, filter="data")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("make", "open"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, default=default_work())
    parser.add_argument("--megabytes", type=float, default=44)
    parser.add_argument("--kbits", type=int, default=24)
    parser.add_argument("--voices", type=float, default=0.8, help="share of the size for the many voices")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.what == "open":
        open_pack(arguments.file, arguments.work)
    else:
        make_pack(arguments.work, arguments.file, arguments.megabytes, arguments.kbits, arguments.voices)


if __name__ == "__main__":
    main()
