"""`script/gateway`: the gateway on this machine, or on the cluster that RAY_ADDRESS names, until it is told to stop.

SIGTERM and Ctrl-C end it without losing a request: nothing new is taken, what is under way is answered.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from gateway.cluster import connect
from gateway.keys import new_key, read_keys
from gateway.scratch import clear_stale
from gateway.settings import GatewaySettings
from pipeline.strict import ConfigError
from service.settings import Settings

logger = logging.getLogger(__name__)
FEW = "0.2"  # seconds a request waits for a speaker that knows its voice before any other will do


def start(gateway: GatewaySettings, settings: Settings):
    """Ray, Serve and the application; returns its handle."""
    os.environ.setdefault("RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S", FEW)
    gpus = connect(gateway.most_replicas, gateway.cores)
    from ray import serve

    from gateway.application import NAME, application

    serve.start(http_options={"host": gateway.host, "port": gateway.port})
    return serve.run(application(gateway, settings, gpus), name=NAME, route_prefix="/")


def serve_until_told(gateway: GatewaySettings, settings: Settings) -> int:
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    try:
        handle = start(gateway, settings)
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    import ray
    from ray import serve

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    logger.info("gateway on http://%s:%d", gateway.host, gateway.port)
    while not told.wait(1.0):
        pass
    logger.info("stopping: waiting for the requests under way")
    done = handle.drain.remote(gateway.drain).result()
    serve.shutdown()
    ray.shutdown()
    clear_stale()
    return 0 if done else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--host", help="default: INDEXTTS_HOST, else 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: PORT, else 8000")
    parser.add_argument("--replicas", type=int, help="default: INDEXTTS_REPLICAS, else 1")
    parser.add_argument("--model", help="a name in configs/ or a model directory (default: INDEXTTS_MODEL)")
    parser.add_argument(
        "--new-key", metavar="NAME", help="add a key to the file of INDEXTTS_KEYS, print it, and end"
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
    except (ValueError, ConfigError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return serve_until_told(gateway, settings)


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
