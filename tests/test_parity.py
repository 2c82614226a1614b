"""Golden values of the published computation, at mini size here and at full size by `-m full`."""

import pytest

from checks.parity import main, run
from tests.conftest import GOLDEN, ROOT

SHARED = ROOT.parent / "shared"
# not shipped: 1 MB each, and minutes to use
FULL = {"full": SHARED / "golden" / "full_public.npz", "full25": SHARED / "golden25" / "full25_public.npz"}


@pytest.mark.parametrize("size, arrays", [("mini", 32), ("mini25", 60)])
def test_every_mini_array_is_within_its_limit(size, arrays):
    lines = []
    good = run(GOLDEN / f"{size}_public.npz", "public", None, lines.append)
    assert good, "\n".join(map(str, lines))
    assert len(lines) >= arrays


def test_another_tag_is_not_mistaken_for_this_one(capsys):
    assert main(["--golden", str(GOLDEN / "mini_public.npz"), "--tag", "other", "--size", "mini"]) == 1
    assert "OVER" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("size", FULL)
def test_every_full_array_is_within_its_limit(size):
    if not FULL[size].is_file():
        pytest.skip("full-size golden values are not beside the repository")
    lines = []
    good = run(FULL[size], "public", None, lines.append)
    assert good, "\n".join(map(str, lines))
