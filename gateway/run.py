"""`script/gateway`: the gateway on this machine, or on the cluster that RAY_ADDRESS names, until it is told to stop.

SIGTERM and Ctrl-C end it without losing a request: nothing new is taken, what is under way is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cluster import connect
from gateway.ingress import MAX_BODY_BYTES
from gateway.keys import new_key, read_keys
from gateway.listen import bind, listening
from gateway.scratch import clear_stale
from gateway.settings import GatewaySettings
from pipeline.strict import ConfigError
from service.settings import Settings

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

logger = logging.getLogger(__name__)
MAX_MESSAGE_BYTES = 2 * MAX_BODY_BYTES  # an order's files and voices
RAY_SERVE = {
    # Seconds a request waits for a speaker that knows its voice before any other will do.
    "RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S": "0.2",
    # Every hop from thread to thread costs a request; nothing of ours keeps a loop from its work.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # Pieces of audio straight from the speaker, not by way of Ray's object store.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MAX_MESSAGE_BYTES),
}


def start(gateway: GatewaySettings, settings: Settings) -> DeploymentHandle:
    """Ray, and the speakers as a Serve application; returns their handle."""
    for name, value in RAY_SERVE.items():
        os.environ.setdefault(name, value)
    gpus = connect(gateway.most_replicas, gateway.cores)
    from ray import serve

    from gateway.application import NAME, speakers

    serve.start(proxy_location="Disabled")
    return serve.run(speakers(gateway, settings, gpus), name=NAME, route_prefix=None)


def serve_until_told(gateway: GatewaySettings, settings: Settings, tied: bool) -> int:
    """The speakers under Ray, the interface in this process: a request is handed on once. tied: the end of standard
    input tells it to stop as well."""
    told = threading.Event()

    def read_to_the_end() -> None:
        sys.stdin.read()
        told.set()

    if tied:
        threading.Thread(target=read_to_the_end, daemon=True).start()

    def listen_for_the_end() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.set())

    listen_for_the_end()
    with bind(gateway.host, gateway.port) as listener:
        handle = start(gateway, settings)
        listen_for_the_end()  # once more, as Ray has handlers of its own
        import ray

        from gateway.application import interface

        front = interface(gateway, settings.model, handle)
        with listening(front.application(), listener) as loop:
            logger.info("gateway on http://%s:%d", gateway.host, listener.getsockname()[1])
            while not told.wait(1.0):
                pass
            logger.info("stopping: waiting for the requests under way")
            done = asyncio.run_coroutine_threadsafe(front.drain(gateway.drain), loop).result()
            asyncio.run_coroutine_threadsafe(shut_down(), loop).result()
    ray.shutdown()
    clear_stale()
    return 0 if done else 1


async def shut_down() -> None:
    """End Serve; in the loop that its router lives in, which it has no quiet way for."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.shutdown()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--host", help="default: INDEXTTS_HOST, else 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: PORT, else 8000")
    parser.add_argument("--replicas", type=int, help="default: INDEXTTS_REPLICAS, else 1")
    parser.add_argument("--model", help="a name in configs/ or a model directory (default: INDEXTTS_MODEL)")
    parser.add_argument(
        "--new-key", metavar="NAME", help="add a key to the file of INDEXTTS_KEYS, print it, and end"
    )
    parser.add_argument(
        "--until-stdin-ends", action="store_true", help="stop, as on SIGTERM, when standard input ends"
    )
    options = parser.parse_args(arguments)
    try:
        given = {"host": options.host, "port": options.port, "replicas": options.replicas}
        gateway = GatewaySettings.read(**given)
        settings = Settings.read(model=options.model, threads=None if _gpu() else gateway.cores)
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s")
        if options.new_key:
            print(new_key(Path(gateway.keys or "keys.txt"), options.new_key))
            return 0
        gateway.check()
        if gateway.keys:
            read_keys(Path(gateway.keys), gateway.rate)
        return serve_until_told(gateway, settings, options.until_stdin_ends)
    except (ValueError, ConfigError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
