"""Golden values of the published computation, at mini size here and at full size by `-m full`."""

from pathlib import Path

import pytest

from checks.parity import main, run
from tests.conftest import GOLDEN, ROOT

FULL = ROOT.parent / "shared" / "golden" / "full_public.npz"  # not shipped: 1 MB, and two minutes to use


def test_every_mini_array_is_within_its_limit():
    lines = []
    good = run(GOLDEN / "mini_public.npz", "public", "mini", lines.append)
    assert good, "\n".join(map(str, lines))
    assert len(lines) >= 32


def test_another_tag_is_not_mistaken_for_this_one(capsys):
    assert main(["--golden", str(GOLDEN / "mini_public.npz"), "--tag", "other", "--size", "mini"]) == 1
    assert "OVER" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FULL.is_file(), reason="full-size golden values are not beside the repository")
def test_every_full_array_is_within_its_limit():
    lines = []
    good = run(Path(FULL), "public", "full", lines.append)
    assert good, "\n".join(map(str, lines))
