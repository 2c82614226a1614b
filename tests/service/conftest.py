"""One server for all tests that only ask: what one of them leaves broken, the next ones see.

It serves mini, which answers as any model does and is quick; `parametrize("server", MODELS, indirect=True)`
asks others.
"""

import pytest

from tests.service.server import CogServer


@pytest.fixture(scope="session", params=["mini"])
def server(request, tmp_path_factory):
    with CogServer(
        tmp_path_factory.mktemp(f"server-{request.param}"), INDEXTTS_MODEL=request.param
    ) as server:
        yield server
