"""Everything the gateway takes from its environment; the model's own settings are `service.settings`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from service.settings import FromEnvironment, seconds, variable, whole

LOOPBACK_NAMES = ("localhost",)


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


@dataclass(frozen=True)
class GatewaySettings(FromEnvironment):
    """How the gateway runs. A variable that is empty is as if it were not set."""

    host: str = variable(
        "INDEXTTS_HOST", "127.0.0.1", str, "Where it listens; anything but loopback needs a file of keys."
    )
    port: int = variable("PORT", "8000", whole(0, 65535), "Where it listens.")
    replicas: int = variable(
        "INDEXTTS_REPLICAS", "1", whole(1, 1000), "Speakers at the start, and the fewest."
    )
    max_replicas: int = variable(
        "INDEXTTS_MAX_REPLICAS",
        "0",
        whole(0, 1000),
        "The most speakers, by length of queue; 0: as many as at the start.",
    )
    cores: int = variable(
        "INDEXTTS_CORES",
        "1",
        whole(1, 1024),
        "Cores of a speaker on a machine without a GPU; with one, it takes a GPU.",
    )
    queue: int = variable(
        "INDEXTTS_QUEUE",
        "16",
        whole(1, 10_000),
        "Requests that may wait per speaker; more get 429 with Retry-After.",
    )
    deadline: float = variable(
        "INDEXTTS_DEADLINE", "600", seconds, "Seconds a request may wait and take in all, then 504."
    )
    drain: float = variable(
        "INDEXTTS_DRAIN",
        "600",
        seconds,
        "Seconds that requests under way are given to end when it is told to stop.",
    )
    voices: str = variable(
        "INDEXTTS_VOICES", "voices", str, "The voice library: a folder, or any URL that fsspec knows."
    )
    keys: str = variable("INDEXTTS_KEYS", "", str, "File of hashed API keys; empty: none are asked for.")
    rate: int = variable(
        "INDEXTTS_RATE",
        "0",
        whole(0, 1_000_000),
        "Requests a minute that a key (without keys: an address) may send; 0: any.",
    )
    allowed_hosts: tuple[str, ...] = variable(
        "INDEXTTS_ALLOWED_HOSTS",
        "",
        _hosts,
        "Hosts that clips may be fetched from by https, with commas; empty: none.",
    )

    @property
    def most_replicas(self) -> int:
        return max(self.replicas, self.max_replicas)

    def is_loopback(self) -> bool:
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check(self) -> GatewaySettings:
        """Raises ValueError for a gateway that anybody could use."""
        if not self.is_loopback() and not self.keys:
            raise ValueError(
                f"INDEXTTS_HOST is '{self.host}', which others can reach; name a file of keys in INDEXTTS_KEYS "
                "(script/gateway --new-key NAME makes one)"
            )
        if self.keys and not Path(self.keys).is_file():
            raise ValueError(f"INDEXTTS_KEYS is '{self.keys}'; there is no such file")
        return self
