"""Speed and memory of getting weights: `script/bench-weights [--megabytes N] [--runs N] [--dir DIRECTORY]`.

Each figure stands beside what the machine itself does, measured in the same run, turn about: a fetch from
a local server beside a plain write of the same bytes (write, fsync), a conversion's peak memory beside
the file's size, a warm load of a safetensors file beside reading it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import yaml

from fetching.convert import Rewriter
from fetching.fetch import Fetch
from fetching.manifest import MANIFEST, ROOT, Entry
from fetching.sources import MIRROR_VARIABLE
from fetching.store import Store
from fetching.verify import hash_file
from pipeline.checkpoints import CHECKPOINTS
from pipeline.loading import read_checkpoint

MEGABYTE = 1_000_000
BLOCK_BYTES = 1 << 20
RATE_CAP = 1e9  # bytes per second that a fetch need not exceed
TENSOR_SHAPE = (1024, 1024, 4)  # 16.8 MB
PAGE_VALUES = 1024  # float32 values in a page of memory


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write_pickle(path: Path, size: int) -> None:
    """A published vocoder-like pickle of about `size` bytes, every tensor weight-normed."""
    make, state = torch.Generator().manual_seed(0), {}
    for index in range(max(1, round(size / (4 * torch.Size(TENSOR_SHAPE).numel())))):
        state[f"ups.{index}.0.weight_g"] = torch.ones(TENSOR_SHAPE[0], 1, 1)
        state[f"ups.{index}.0.weight_v"] = torch.randn(TENSOR_SHAPE, generator=make)
    torch.save({"generator": state}, path)


def plain_write(source: Path, target: Path) -> None:
    """The bytes of `source` to `target`, on the disk when it returns."""
    with open(source, "rb") as read, open(target, "wb") as write:
        while block := read.read(BLOCK_BYTES):
            write.write(block)
        write.flush()
        os.fsync(write.fileno())


def measure_fetch(folder: Path, pickle: Path, runs: int) -> dict[str, float]:
    """Fetch the pickle from a server in another process, against writing it."""
    served, size = pickle.parent, pickle.stat().st_size
    manifest = {
        "transfer": yaml.safe_load(MANIFEST.read_text())["transfer"],
        "models": {
            "bench": [
                {
                    "repository": "org/bench",
                    "revision": "main",
                    "group": "core",
                    "into": "",
                    "files": [{"file": pickle.name, "size": size, "sha256": hash_file(pickle).sha256}],
                }
            ]
        },
    }
    (folder / "weights.yaml").write_text(yaml.safe_dump(manifest))
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.weights.server", str(served)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
    )
    os.environ[MIRROR_VARIABLE] = server.stdout.readline().strip()
    os.environ["HF_HUB_OFFLINE"] = "1"
    writes, hashes, fetches = [], [], []
    try:
        for run in range(runs):
            writes.append(seconds(lambda: plain_write(pickle, folder / "plain")))
            (folder / "plain").unlink()
            hashes.append(seconds(lambda: hash_file(pickle)))
            store = Store("bench", folder / f"fetch-{run}", folder / "weights.yaml", folder / "none.json")
            store.directory.mkdir()
            fetches.append(seconds(partial(Fetch(store).run, ["core"])))
            shutil.rmtree(store.directory)
    finally:
        server.kill()
        server.wait()
    write, fetch = statistics.median(writes), statistics.median(fetches)
    floor = max(write, size / RATE_CAP)
    return {
        "plain write + fsync MB/s": size / write / MEGABYTE,
        "sha256 alone MB/s": size / statistics.median(hashes) / MEGABYTE,
        "fetch MB/s": size / fetch / MEGABYTE,
        "fetch rate / min(disk, 1 GB/s) [>= 0.8]": floor / fetch,
        "fetch s": fetch,
        "write s + sha256 s": write + statistics.median(hashes),
    }


def measure_conversion(pickle: Path) -> dict[str, float]:
    figures = {}
    for dtype in ("float16", "float32"):
        with Rewriter() as rewriter:
            task = {
                "source": str(pickle),
                "target": str(pickle.with_suffix(".safetensors")),
                "rule": "vocoder",
                "dtype": dtype,
                "metadata": {},
            }
            start = time.perf_counter()
            report = rewriter.run(task, Entry(pickle.name, "org/bench", "main", pickle.name, "core"))
            figures[f"conversion to {dtype} s"] = time.perf_counter() - start
            figures[f"conversion to {dtype}: peak memory / file size [<= 1.5]"] = (
                report["peak_bytes"] / pickle.stat().st_size
            )
    return figures


def measure_load(directory: Path, copy: Path, runs: int) -> dict[str, float]:
    """Every tensor of a safetensors file on the device, as the loader puts it there, with a value of
    every page looked at; against reading the file. Both find the file in the page cache."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def load() -> None:
        for state in read_checkpoint(directory, CHECKPOINTS["vocoder"]).values():
            for tensor in state.tensors.values():
                tensor.to(device=device, dtype=torch.float32).flatten()[::PAGE_VALUES].sum().item()

    def read() -> None:
        block = bytearray(BLOCK_BYTES)
        with open(copy, "rb", buffering=0) as file:
            while file.readinto(block):
                pass

    loads, reads = [], []
    for _ in range(runs + 1):  # the first of each warms the cache and is not counted
        reads.append(seconds(read))
        loads.append(seconds(load))
    load_s, read_s = statistics.median(loads[1:]), statistics.median(reads[1:])
    return {"read s": read_s, "load s": load_s, "load / read [<= 1.3]": load_s / read_s}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/bench-weights", description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the file")
    parser.add_argument("--runs", type=int, default=3, help="the median of this many is printed")
    parser.add_argument("--dir", type=Path, help="where to write; default: the temporary directory")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="indextts-bench-", dir=options.dir) as name:
        folder = Path(name)
        pickle = folder / "served" / "bigvgan" / "bigvgan_generator.pt"
        pickle.parent.mkdir(parents=True)
        write_pickle(pickle, options.megabytes * MEGABYTE)
        figures: dict[str, float] = {"file MB": pickle.stat().st_size / MEGABYTE}
        figures |= measure_fetch(folder, pickle, options.runs)
        figures |= measure_conversion(pickle)
        figures |= measure_load(pickle.parent.parent, pickle.with_suffix(".safetensors"), options.runs)
    for key, value in figures.items():
        print(f"{key:<58} {value:>10.4g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
