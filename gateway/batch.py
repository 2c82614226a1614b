"""`script/batch`: a table of texts to a folder of audio, through Ray Data.

script/batch lines.jsonl -o audio            # rows of text and voice (of the library) or speaker (a file), any input
script/batch book.csv -o audio --join m4b    # and a file per chapter, with subtitles, and the book with chapter marks

A second run does only what is missing; a row that cannot be spoken is a line in manifest.jsonl.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.bulk import BulkSpeaker, fingerprint
from gateway.cluster import connect
from gateway.join import FORMATS as JOIN_FORMATS
from gateway.join import join
from gateway.settings import GatewaySettings
from gateway.table import Reader, Row, RowError, read_rows
from gateway.voices import Library
from pipeline.files import write_whole
from pipeline.strict import ConfigError
from service.settings import Settings

MANIFEST = "manifest.jsonl"
BATCH = 8  # rows that a speaker is handed at a time
REPORT_SECONDS = 2.0


@dataclass
class Manifest:
    """What became of every row, a line each; rewritten at the start of a run, then only added to."""

    path: Path
    lines: dict[int, dict[str, object]] = field(default_factory=dict)

    def begin(self) -> None:
        """Raises OSError when it cannot be written."""
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines.values())
        write_whole(self.path, "".join(lines).encode())
        self.file = self.path.open("a", encoding="utf-8")

    def add(self, index: int, **told: object) -> None:
        if index in self.lines:
            return
        self.lines[index] = {"index": index, **told}
        self.file.write(json.dumps(self.lines[index], ensure_ascii=False) + "\n")
        self.file.flush()

    def failed(self) -> int:
        return sum(line["status"] == "failed" for line in self.lines.values())


def earlier(path: Path) -> dict[str, dict[str, object]]:
    """What an earlier run tells of each file that is still there, by name; a last line that was cut off is nothing."""
    found = {}
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line.get("status") == "done" and (path.parent / str(line["file"])).is_file():
                found[line["name"]] = line
    return found


def plan(
    table: Path, reader: Reader, manifest: Manifest, done: dict[str, dict[str, object]]
) -> tuple[list[Row], dict[str, list[Row]]]:
    """(every row that can be spoken, those still to do by name); the rest goes into the manifest at once."""
    rows, missing, failed = [], {}, {}
    for index, values in enumerate(read_rows(table)):
        try:
            if isinstance(values, RowError):
                raise values
            row = reader.row(index, values)
        except RowError as e:
            failed[index] = str(e)
            continue
        rows.append(row)
        if row.name in done:
            manifest.lines[index] = {**done[row.name], **place_of(row)}
        else:
            missing.setdefault(row.name, []).append(row)
    manifest.begin()
    for index, reason in failed.items():
        manifest.add(index, status="failed", error=reason)
    return rows, missing


def place_of(row: Row) -> dict[str, object]:
    return {"index": row.index, "chapter": row.chapter, "gap": row.gap}


def made(
    rows: Sequence[Row], settings: Settings, speakers: int, resources: dict[str, float]
) -> Iterator[dict[str, object]]:
    """What the speakers make of `rows`, as it comes: name, audio and receipt, or an error."""
    import ray

    ordered = sorted(rows, key=Row.sort_key)
    items = [{"name": row.name, "order": pickle.dumps(row.order)} for row in ordered]
    blocks = max(1, -(-len(items) // BATCH))
    spoken = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        BulkSpeaker,
        fn_constructor_args=(settings,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=speakers),
        **resources,
    )
    for batch in spoken.iter_batches(batch_size=None, prefetch_batches=0):
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(names, values, strict=True))


class Progress:
    """Rate and time left, on standard error every few seconds."""

    def __init__(self, total: int):
        self.total, self.done, self.seconds = total, 0, 0.0
        self.start = self.told = time.monotonic()

    def one(self, seconds: float) -> None:
        self.done, self.seconds = self.done + 1, self.seconds + seconds
        now = time.monotonic()
        if now - self.told >= REPORT_SECONDS or self.done == self.total:
            self.told, elapsed = now, now - self.start
            left = elapsed / self.done * (self.total - self.done)
            print(
                f"{self.done} of {self.total}, {60 * self.done / elapsed:.1f} rows a minute, "
                f"{self.seconds / elapsed:.2f} s of audio a second, {left:.0f} s left",
                file=sys.stderr,
            )


def run(options: argparse.Namespace) -> int:
    gateway = GatewaySettings.read(voices=options.voices)
    resources, settings = start(options, gateway)
    folder = options.output
    folder.mkdir(parents=True, exist_ok=True)
    reader = Reader(
        Library(gateway.voices), options.table.resolve().parent, fingerprint(settings), defaults(options)
    )
    manifest = Manifest(folder / MANIFEST)
    rows, missing = plan(options.table, reader, manifest, earlier(manifest.path))
    progress = Progress(len(missing))
    first, now = [same[0] for same in missing.values()], 0
    for item in made(first, settings, options.speakers, resources) if first else ():
        for row in missing[item["name"]]:
            if item["error"]:
                manifest.add(row.index, status="failed", name=row.name, error=item["error"])
                continue
            told = json.loads(item["receipt"])
            write_whole(folder / row.file, item["audio"])
            write_whole(folder / f"{row.name}.json", item["receipt"].encode())
            manifest.add(
                status="done", name=row.name, file=row.file, seconds=told["audio_seconds"], seed=told["seed"],
                warnings=told["warnings"], **place_of(row),
            )  # fmt: skip
        now += not item["error"]
        progress.one(0.0 if item["error"] else told["audio_seconds"])
    failed = manifest.failed()
    print(
        f"{folder}: {len(manifest.lines) - failed} rows done (made now: {now}), {failed} failed",
        file=sys.stderr,
    )
    if options.join:
        for path in join(folder, manifest.lines.values(), options.join, options.gap):
            print(path)
    return 2 if failed else 0


def start(options: argparse.Namespace, gateway: GatewaySettings) -> tuple[dict[str, float], Settings]:
    """Ray, local or the cluster of RAY_ADDRESS; what a speaker takes of it, and how it computes."""
    gpu = connect(options.speakers, gateway.cores)
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    settings = Settings.read(model=options.model, threads=None if gpu else gateway.cores)
    return {"num_gpus": 1.0} if gpu else {"num_cpus": float(gateway.cores)}, settings


def defaults(options: argparse.Namespace) -> dict[str, object]:
    from service.fields import from_text
    from service.request import Request

    given = {}
    for pair in options.input:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"-i {pair[:60]}: expected NAME=VALUE")
        given[name] = from_text(Request, name, value)
    return given


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/batch", description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="JSON lines, CSV or Parquet")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "-i", "--input", action="append", default=[], metavar="NAME=VALUE", help="for every row"
    )
    parser.add_argument("--speakers", type=int, default=1, help="at most so many at once")
    parser.add_argument("--voices", help="the voice library (default: INDEXTTS_VOICES)")
    parser.add_argument("--model", help="a name in configs/ or a model directory (default: INDEXTTS_MODEL)")
    parser.add_argument("--join", choices=JOIN_FORMATS, help="also one file per chapter, of this format")
    parser.add_argument("--gap", type=float, default=0.4, help="seconds between joined rows (default 0.4)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    try:
        if options.speakers < 1 or not 0 <= options.gap <= 60:
            raise ValueError("--speakers must be 1 or more, --gap 0 to 60 s")
        return run(options)
    except (ValueError, ConfigError) as e:
        print(f"error: {e}", file=sys.stderr)
    except OSError as e:
        print(f"error: {e.strerror}: {e.filename or options.output}; run it again to go on", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
