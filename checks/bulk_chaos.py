"""Bulk synthesis on two nodes of a cluster on this machine, one of them killed in the middle; then a second run.

python -m checks.bulk_chaos --rows 500

Every row has to be done, and be in the manifest once; the second run has to make none. The report is JSON.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from checks.chaos import TEXTS, VOICES

ROOT = Path(__file__).resolve().parent.parent
CHEAP = ("diffusion_steps=1", "max_mel_tokens=60", "num_beams=1")
STORE_BYTES = 100 * 2**20
SECONDS = 3000


def run(table: Path, folder: Path, address: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gateway.batch", str(table), "-o", str(folder), "--speakers", "2"]
    command += ["--model", "tiny-en", "--voices", str(folder.parent / "voices")]
    for pair in CHEAP:
        command += ["-i", pair]
    environment = os.environ | {"RAY_ADDRESS": address}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS)


def lines_of(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.is_file() else []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m checks.bulk_chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args(arguments)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    cluster = Cluster(
        initialize_head=True, head_node_args={**node, "num_cpus": 2, "include_dashboard": False}
    )
    doomed = cluster.add_node(**node)
    cluster.wait_for_nodes()
    killed: list[int] = []
    with tempfile.TemporaryDirectory() as temporary:
        table, folder = Path(temporary) / "rows.jsonl", Path(temporary) / "out"
        rows = [
            {"text": TEXTS[n % len(TEXTS)], "voice": VOICES[n % len(VOICES)], "seed": n}
            for n in range(options.rows)
        ]
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))

        def killer() -> None:
            while (done := len(lines_of(folder / "manifest.jsonl"))) < options.rows // 3:
                time.sleep(1)
            cluster.remove_node(doomed, allow_graceful=False)
            killed.append(done)

        threading.Thread(target=killer, daemon=True).start()
        start = time.monotonic()
        first = run(table, folder, cluster.address)
        seconds = time.monotonic() - start
        lines = lines_of(folder / "manifest.jsonl")
        times = collections.Counter(line["index"] for line in lines)
        second = run(table, folder, cluster.address)
        report = {
            "rows": options.rows,
            "status": first.returncode,
            "killed_after": killed,
            "done": sum(line["status"] == "done" for line in lines),
            "twice": sum(count > 1 for count in times.values()),
            "files": len(list(folder.glob("*.wav"))),
            "seconds": round(seconds, 1),
            "second_run": second.stderr.splitlines()[-1:],
            "lines_after": len(lines_of(folder / "manifest.jsonl")),
        }
        print(json.dumps(report, indent=1))
        if first.returncode:
            print(first.stderr[-2000:], file=sys.stderr)
    cluster.shutdown()
    good = report["done"] == report["files"] == report["lines_after"] == options.rows and not report["twice"]
    return 0 if good and "(made now: 0)" in "".join(report["second_run"]) else 1


if __name__ == "__main__":
    sys.exit(main())
