"""One server per model for all tests that only ask: what one of them leaves broken, the next ones see."""

import pytest

from tests.conftest import MODELS
from tests.service.server import CogServer


@pytest.fixture(scope="session", params=MODELS)
def server(request, tmp_path_factory):
    with CogServer(
        tmp_path_factory.mktemp(f"server-{request.param}"), INDEXTTS_MODEL=request.param
    ) as server:
        yield server
