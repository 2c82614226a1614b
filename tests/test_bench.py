"""The benchmark's arithmetic and its gate; its figures are no test's business."""

import pytest

from checks.bench import failures, ratios
from checks.bench_stages import PLAIN, chain, parts_in_turn, stages
from checks.bench_text import Row
from checks.bench_train import training_table
from pipeline.config import load_config
from pipeline.precisions import PRECISIONS
from service.catalog import Source

FOUND = {"flow": {PLAIN: 2.0, "exact": 2.0, "fast": 1.0, "smallest": 4.0}}


def test_ratios_are_times_as_fast_as_plain():
    assert ratios(FOUND["flow"]) == {"exact": 1.0, "fast": 2.0, "smallest": 0.5}


def test_the_gate_names_what_became_slow():
    assert failures({"flow/fast": 1.9, "flow/exact": 1.0}, FOUND) == []
    (line,) = failures({"flow/fast": 2.1}, FOUND)
    assert line == "flow/fast: 2.00 times as fast as plain; the gate asks for 2.1"


def test_the_gate_names_a_text_whose_time_grows_faster_than_it():
    text = [Row("digits", 0.1, 4.9), Row("brackets", 0.1, 25.0), Row("first words", 0.5)]
    assert failures({"text/growth": 30}, FOUND, text) == []
    (line,) = failures({"text/growth": 8, "flow/fast": 1.9}, FOUND, text)
    assert line == "text/growth: 25.0 for 'brackets'; the gate allows 8"


def test_a_part_counts_by_its_quickest_run_and_the_first_run_not_at_all():
    times = {"one": iter([[0.1, 0.1], [3.0, 1.0], [2.0, 5.0]]), "other": iter([[0.0], [7.0], [8.0]])}
    works = {name: lambda left=left: next(left) for name, left in times.items()}
    assert parts_in_turn(works, 2) == {"one": 3.0, "other": 7.0}


@pytest.mark.parametrize("name", ["flow", "flow/half", "text/fast", "/"])
def test_a_gate_that_names_nothing_measured_is_an_error(name):
    with pytest.raises(ValueError, match="the gate's '.*' is unknown; known: flow"):
        failures({name: 1.0}, FOUND)


def test_every_stage_is_measured_in_every_precision(mini_directory):
    config = load_config("mini")
    found = stages(mini_directory, config, (1, 2), codes=2, frames=4, runs=1)
    assert list(found) == ["gpt, 1 beam", "gpt, 2 beams", "flow", "vocoder"]
    for seconds in [*found.values(), chain(found, config, "gpt, 2 beams", 3, 4)]:
        assert set(PRECISIONS) <= set(seconds)


def test_a_step_of_fine_tuning_is_timed(mini_directory):
    lines = training_table(Source(load_config("mini"), mini_directory), 1)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [row[0] for row in rows] == ["gpt", "dit"]
    assert all(float(row[1]) > 0 and int(row[2]) > 0 and int(row[3].replace(",", "")) > 0 for row in rows)
