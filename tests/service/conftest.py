"""One server for all tests that only ask: what one of them leaves broken, the next ones see."""
import pytest

from tests.service.server import CogServer


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = CogServer(tmp_path_factory.mktemp("server"))
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()
