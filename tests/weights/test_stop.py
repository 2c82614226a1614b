"""What a download leaves that was told to stop, because another file's failed: what can be continued, and no
more.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from fetching.download import Download
from fetching.http import Client
from fetching.manifest import Transfer
from fetching.partial import Part, Partial
from fetching.progress import Meter
from fetching.retry import Stopped
from fetching.verify import Expected
from tests.weights.conftest import BIG, TRANSFER
from tests.weights.server import Fault


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def expected(files) -> Expected:
    return Expected(len(files[BIG]), hashlib.sha256(files[BIG]).hexdigest())


@pytest.fixture
def run(mirror, expected, stop, tmp_path):
    """Download the big file, or go on with what lies there of it."""

    def run():
        transfer = Transfer(**TRANSFER | {"stall_seconds": 300.0})
        job = Download(Client(transfer), f"{mirror.mirror_url}/{BIG}", tmp_path / BIG, expected, stop)
        with ThreadPoolExecutor(4) as pool:
            return job.run(pool, Meter(len(mirror.bucket_files[BIG]), 60.0))

    return run


def test_stopped_before_the_first_byte_leaves_nothing(run, stop, mirror, tmp_path):
    stop.set()
    with pytest.raises(Stopped):
        run()
    assert list(tmp_path.iterdir()) == [] and mirror.bytes_sent[BIG] == 0


def test_stopped_when_all_is_there_it_is_finished(run, stop, expected, mirror, files, tmp_path):
    whole = Partial(tmp_path / BIG, expected.sha256)
    whole.total, whole.parts = expected.size, [Part(0, expected.size, expected.size)]
    whole.path.write_bytes(files[BIG])
    whole.save()
    stop.set()
    assert run().sha256 == expected.sha256 and mirror.bytes_sent[BIG] == 0


def test_stopped_in_the_middle_can_be_continued(run, stop, expected, mirror, tmp_path):
    hold = threading.Event()
    mirror.faults[BIG] = [Fault(), *(Fault(cut=50_000, hold=hold) for _ in range(9))]

    def stop_in_the_middle() -> None:
        mirror.reached.wait()
        stop.set()
        hold.set()

    stopper = threading.Thread(target=stop_in_the_middle)
    stopper.start()
    with pytest.raises(Stopped):
        run()
    stopper.join()
    assert 0 < Partial(tmp_path / BIG, expected.sha256).have < expected.size
    stop.clear()
    mirror.faults[BIG].clear()
    assert run().sha256 == expected.sha256
