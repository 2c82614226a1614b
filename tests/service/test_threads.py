"""How many threads: what was asked for, the container's quota, and values that are none."""

import threading

import pytest
import torch

from pipeline.strict import ConfigError
from pipeline.threads import compute_on
from service.settings import Settings
from service.threads import quota, set_threads


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "text, cores", [("150000 100000\n", 1.5), ("max 100000\n", None), ("0 0\n", None), ("x", None)]
)
def test_the_quota_of_cgroup_2(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert quota(tmp_path) == cores


@pytest.mark.parametrize("limit, cores", [("50000", 0.5), ("-1", None)])
def test_the_quota_of_cgroup_1(tmp_path, limit, cores):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert quota(tmp_path) == cores


def test_no_cgroup_is_no_quota(tmp_path):
    assert quota(tmp_path) is None


@pytest.mark.parametrize(
    "limit, asked, wanted", [(None, 0, 4), (1.5, 0, 2), (0.2, 0, 1), (9.0, 0, 4), (1.5, 3, 3)]
)
def test_threads_fit_the_quota_unless_asked_for(threads, monkeypatch, limit, asked, wanted):
    monkeypatch.setattr("service.threads.quota", lambda: limit)
    torch.set_num_threads(4)
    assert set_threads(asked) == wanted == torch.get_num_threads()


def test_a_threads_count_is_its_own_before_its_first_operation_too(threads):
    """The engine decodes on one thread whatever the others do meanwhile."""
    is_set, go, seen = threading.Event(), threading.Event(), []

    def work():
        compute_on(1)
        is_set.set()
        go.wait(10)
        seen.append(torch.get_num_threads())

    worker = threading.Thread(target=work)
    worker.start()
    is_set.wait(10)
    compute_on(3)
    go.set()
    worker.join()
    assert seen == [1] and torch.get_num_threads() == 3


@pytest.mark.parametrize("text", ["-2", "two", "1.5", "99999", "٣"])
def test_a_thread_count_that_is_none_is_an_error(text):
    with pytest.raises(ConfigError, match="INDEXTTS_THREADS is '.*'; allowed: 1 to 1024, or 0"):
        Settings.read({"INDEXTTS_THREADS": text})


@pytest.mark.parametrize("text", ["Fast", "int8", "x" * 100])
def test_an_unknown_precision_is_an_error(text):
    with pytest.raises(ConfigError, match="INDEXTTS_PRECISION is '.*'; allowed: exact, fast, smallest"):
        Settings.read({"INDEXTTS_PRECISION": text})


def test_what_is_not_set_is_fast_and_as_many_threads_as_there_are_cores():
    settings = Settings.read({})
    assert (settings.precision, settings.threads) == ("fast", 0)
