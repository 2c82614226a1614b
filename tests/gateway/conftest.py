"""One gateway in this process for tests of its interface: a real uvicorn before a real speaker, without Ray."""

import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvicorn

from checks.server import free_port
from gateway.door import Door
from gateway.ingress import Gateway
from gateway.replicas import InProcess
from gateway.settings import GatewaySettings
from gateway.speaker import Speaker
from service.service import Service
from service.settings import Settings

if TYPE_CHECKING:
    import openai

QUICK = {"max_mel_tokens": 60, "diffusion_steps": 1, "num_beams": 1, "seed": 7}
QUEUE = 3


class Served:
    """A gateway on a port of its own."""

    def __init__(self, service: Service, **settings):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = GatewaySettings.read({}, queue=QUEUE, **settings)
        self.gateway = Gateway(settings, "tiny-en", InProcess(Speaker(Door(service)), QUEUE))
        config = uvicorn.Config(self.gateway.application(), port=self.port, log_level="warning")
        self.server = uvicorn.Server(config)

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *error):
        self.server.should_exit = True
        self.thread.join(30)

    def client(self, key: str = "none") -> "openai.OpenAI":
        import openai  # which takes half a second, of every process that collects tests

        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="session")
def service():
    """It speaks one request at a time, so that a queue fills."""
    return Service(Settings.read(model="tiny-en", segment_batch=1))


@pytest.fixture(scope="session")
def served(service, tmp_path_factory):
    with Served(service, voices=str(tmp_path_factory.mktemp("voices"))) as served:
        yield served
