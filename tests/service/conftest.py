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
def served(tmp_path_factory) -> Callable[[str], CogServer]:
    """The server of a model, started when it is first asked for: a change of models starts none again."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(model: str) -> CogServer:
            folder = tmp_path_factory.mktemp(f"server-{model}")
            return stack.enter_context(CogServer(folder, INDEXTTS_MODEL=model))

        yield start


@pytest.fixture(scope="session", params=["mini"])
def server(request, served) -> CogServer:
    return served(request.param)
