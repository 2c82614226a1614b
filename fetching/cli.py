"""The command line of weights.py."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from fetching.convert import DTYPES, Rules, convert, copy_path, is_converted
from fetching.fetch import Fetch
from fetching.files import directory_lock
from fetching.lock import write_lock
from fetching.manifest import GROUPS, LOCK, MANIFEST, WeightsError, load_manifest
from fetching.progress import in_bytes
from fetching.store import COMPLETE, Store

COMMANDS = {
    "fetch": "make the directory complete: check what is there, fetch what is missing",
    "verify": "hash every file that is there",
    "status": "show every file: expected, present, verified, size",
    "lock": "ask the hub for commits, sizes and hashes and write weights.lock.json",
    "convert": "write the safetensors copies of the pickles",
}
SHORT_HASH = 12


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weights.py", description="The files of a published model.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--model", help="default: the first of the manifest")
        command.add_argument("--group", action="append", choices=GROUPS, help="may be repeated; default: all")
        command.add_argument("--dir", type=Path, help="default: INDEXTTS_WEIGHTS_DIR, or weights/MODEL")
        command.add_argument("--manifest", type=Path, default=MANIFEST, help="default: configs/weights.yaml")
        command.add_argument("--lock", type=Path, default=LOCK, help="default: weights.lock.json")
        if name == "convert":
            command.add_argument("--dtype", choices=DTYPES, default=DTYPES[0])
            command.add_argument(
                "--remove-sources", action="store_true", help="delete each pickle once converted"
            )
    return parser


def main(rules: Rules, arguments: list[str] | None = None) -> int:
    """Run one command; rules: what is in each pickle. Returns the exit status: 0, or 1 with a message on
    standard error.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return run(options, rules)
    except (WeightsError, OSError) as e:
        sys.stderr.write(f"weights.py: {e}\n")
    except KeyboardInterrupt:
        sys.stderr.write("weights.py: interrupted; the next fetch goes on from here\n")
    return 1


def run(options: argparse.Namespace, rules: Rules) -> int:
    manifest = load_manifest(options.manifest)
    model = options.model or next(iter(manifest.models))
    groups = options.group or GROUPS
    if options.command == "lock":
        write_lock(manifest, model, options.lock)
        return 0
    store = Store(model, options.dir, options.manifest, options.lock)
    if options.command == "status":
        sys.stdout.write(status_table(store, groups) + "\n")
        return (
            0
            if all(store.state(entry) in COMPLETE or entry.optional for entry in store.entries(groups))
            else 1
        )
    with directory_lock(store.directory):
        store.reload()
        if options.command == "fetch":
            Fetch(store).run(groups, retry_absent=True)
        elif options.command == "convert":
            convert(store, groups, options.dtype, rules, options.remove_sources)
        else:
            wrong = store.verify(groups)
            for path, reason in wrong.items():
                sys.stderr.write(f"{path}: {reason}\n")
            return 1 if wrong else 0
    return 0


def status_table(store: Store, groups: list[str] | tuple[str, ...]) -> str:
    """What is known of every file, without reading any."""
    rows = [("file", "group", "expected", "present", "verified", "size")]
    for entry in store.entries(groups):
        path, record, state = store.path(entry), store.files.get(entry.path), store.state(entry)
        present = path.is_file()
        expected = (
            f"sha256 {entry.sha256[:SHORT_HASH]}" if entry.sha256 else "optional" if entry.optional else "any"
        )
        size = path.stat().st_size if present else entry.size
        rows.append(
            (
                entry.path,
                entry.group,
                expected,
                "yes" if present else "no",
                f"by {record.trust}"
                if record and state == "verified"
                else state
                if state != "missing"
                else "",
                in_bytes(size) if size is not None else "",
            )
        )
        if entry.rule and copy_path(entry) in store.converted:
            copy = store.converted[copy_path(entry)]
            good = is_converted(store, entry, copy.dtype)
            rows.append(
                (
                    copy_path(entry),
                    entry.group,
                    f"from {entry.path}",
                    "yes" if good else "no",
                    copy.dtype if good else "outdated",
                    in_bytes(copy.size),
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([f"{store.model} in {store.directory}", *lines])
