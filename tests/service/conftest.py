"""One server for all tests that only ask: what one of them leaves broken, the next ones see.

It serves mini, which answers as any model does and is quick; `parametrize("server", MODELS, indirect=True)`
asks others.
"""

import contextlib
import functools
from collections.abc import Callable

import pytest

from tests.service.server import CogServer


@pytest.fixture(scope="session")
def served(tmp_path_factory) -> Callable[..., CogServer]:
    """The server of a model, as `CogServer` starts it, when it is first asked for: once for all files of its worker."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(model: str, *arguments: str, front: bool = False, **environment: str) -> CogServer:
            folder = tmp_path_factory.mktemp("-".join(("server", model, *arguments)))
            server = CogServer(folder, *arguments, front=front, INDEXTTS_MODEL=model, **environment)
            return stack.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def streaming(served) -> CogServer:
    return served("mini", "--stream", front=True)


@pytest.fixture(scope="session")
def concurrent(served) -> CogServer:
    """In the precision in which no request's bytes depend on the others."""
    return served("mini", "--concurrent", front=True, INDEXTTS_PRECISION="exact")


@pytest.fixture(scope="session")
def fronted(served) -> CogServer:
    return served("mini", front=True)


@pytest.fixture(scope="session", params=["mini"])
def server(request, served) -> CogServer:
    """Cog's server itself; of mini that of the one with a front."""
    if request.param == "mini":
        return request.getfixturevalue("fronted").bare()
    return served(request.param)
