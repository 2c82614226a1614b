"""What the README names exists."""

import inspect
import re

from predict import Predictor
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_scripts_and_files_it_names_exist():
    for path in re.findall(r"(?:script|examples|tests/golden|configs|pipeline)/[\w./-]*\w", README):
        assert (ROOT / path).exists(), path


def test_every_input_is_in_its_table_and_no_other():
    inputs = set(inspect.signature(Predictor.predict).parameters) - {"self"}
    table = README.split("## Inputs")[1].split("\n\n")[1]
    assert {
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    } == inputs
