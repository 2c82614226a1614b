"""How many threads: what was asked for, the container's quota, and values that are none."""

import pytest
import torch

from service.threads import parse_threads, quota, set_threads


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
    "limit, asked, wanted", [(None, None, 4), (1.5, None, 2), (0.2, None, 1), (9.0, None, 4), (1.5, 3, 3)]
)
def test_threads_fit_the_quota_unless_asked_for(threads, monkeypatch, limit, asked, wanted):
    monkeypatch.setattr("service.threads.quota", lambda: limit)
    torch.set_num_threads(4)
    assert set_threads(asked) == wanted == torch.get_num_threads()


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", "99999", "٣", " "])
def test_a_thread_count_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match="INDEXTTS_THREADS is '.*'; allowed: 1 to 1024"):
        parse_threads(text)


def test_no_thread_count_is_none():
    assert parse_threads(None) is None and parse_threads("") is None and parse_threads("3") == 3
