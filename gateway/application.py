"""The Ray Serve applications: the speakers, which `script/gateway` calls itself, and, for `serve run` and KubeRay, an
ingress of Serve's before them (`gateway.application:build`).

A speaker takes a GPU where there are any, else `cores` cores. Requests for a voice go to a speaker that has it
(multiplexing), as long as one of them is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from gateway.door import Door
from gateway.ingress import Gateway
from gateway.measures import Measures
from gateway.replicas import Item, busy, unbroken
from gateway.scratch import use_own_folder
from gateway.settings import GatewaySettings
from gateway.speaker import Done, Order, Refused, Speaker
from gateway.voices import VoiceRecord
from service.service import Service
from service.settings import Settings

NAME = "speech"
MAX_OPEN = 1000  # connections of the ingress
KNOWN_VOICES = 64  # that a speaker keeps at hand
HEALTH_SECONDS, STATUS_SECONDS = 10.0, 1.0
# Orders and items are plain objects of modules, which the quicker pickle does as well.
RPC = {"request_serialization": "pickle", "response_serialization": "pickle"}
LOST = (ActorDiedError, ActorUnavailableError, RayActorError, ReplicaUnavailableError)


@serve.deployment(
    name="Speaker", health_check_period_s=HEALTH_SECONDS, logging_config={"enable_access_log": False}
)
class SpeakerReplica:
    """A Service behind its door, one per replica."""

    def __init__(self, settings: Settings):
        use_own_folder()
        service = Service(settings)
        service.warm_up()
        self.speaker = Speaker(Door(service))
        self.records: dict[str, VoiceRecord] = {}

    @serve.multiplexed(max_num_models_per_replica=KNOWN_VOICES)
    async def voice(self, key: str) -> VoiceRecord:
        """Have a voice at hand; its key tells the router so."""
        record = self.records.pop(key)
        with contextlib.suppress(ValueError):  # the order itself says what is wrong with it
            await self.speaker.know(record)
        return record

    async def speak(self, order: Order) -> AsyncIterator[Item]:
        if key := order.affinity():
            self.records[key] = order.speaker
            await self.voice(key)
            self.records.pop(key, None)
        async with contextlib.aclosing(self.speaker.speak(order)) as items:
            async for item in items:
                yield item

    async def inspect(self, content: bytes, adapter: bytes = b"") -> dict[str, object] | Refused:
        return await self.speaker.inspect(content, adapter)

    def process(self) -> int:
        """Its process id, for whoever looks into a machine."""
        return os.getpid()

    def check_health(self) -> None:
        if not self.speaker.door.service.healthy():
            raise RuntimeError("the last synthesis failed, or the device does not answer")


class Deployed:
    """The replicas of the Speaker deployment."""

    def __init__(self, handle: DeploymentHandle, retried: Callable[[], None]):
        self.handle, self.retried = handle, retried
        self.running_at, self.count = 0.0, 0
        self.tasks: set[asyncio.Task] = set()

    async def speak(self, order: Order) -> AsyncIterator[Item]:
        handle = self.handle.options(
            stream=True, method_name="speak", multiplexed_model_id=order.affinity(), **RPC
        )

        async def once() -> AsyncIterator[Item]:
            stream = handle.remote(order)
            begun = True
            item: Item | None = None
            try:
                async for item in stream:
                    yield item
                    if isinstance(item, Done):
                        break
            except BackPressureError as e:
                begun = False
                raise busy(waiting(e)) from e
            finally:
                if isinstance(item, Done | Refused):
                    self.afterwards(rest(stream))
                elif begun:
                    stream.cancel()

        async with contextlib.aclosing(unbroken(once, LOST, self.retried)) as items:
            async for item in items:
                yield item

    def afterwards(self, work: Coroutine[None, None, None]) -> None:
        """Do what nobody waits for."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def inspect(self, content: bytes, adapter: bytes = b"") -> dict[str, object] | Refused:
        try:
            return await self.handle.inspect.remote(content, adapter)
        except BackPressureError as e:
            raise busy(waiting(e)) from e

    async def running(self) -> int:
        """Asked of the controller, at most once a second."""
        now = asyncio.get_running_loop().time()
        if now - self.running_at > STATUS_SECONDS:
            self.running_at, self.count = now, await asyncio.to_thread(running_speakers)
        return self.count


async def rest(stream: AsyncIterator[Item]) -> None:
    """Read a stream to its end, so that it counts as answered and not as left."""
    with contextlib.suppress(*LOST):
        async for _ in stream:
            pass


def waiting(full: BackPressureError) -> int:
    """How many requests wait already, by Serve's own error."""
    return int(full.args[0])


def running_speakers() -> int:
    deployments = serve.status().applications[NAME].deployments
    return sum(
        count
        for state, count in deployments["Speaker"].replica_states.items()
        if str(state).endswith("RUNNING")
    )


def interface(settings: GatewaySettings, model: str, handle: DeploymentHandle) -> Gateway:
    """The HTTP interface before the speakers of a deployment."""
    measures = Measures()
    return Gateway(settings, model, Deployed(handle, measures.retries.inc), measures)


@serve.deployment(name="Gateway", max_ongoing_requests=MAX_OPEN, ray_actor_options={"num_cpus": 0})
@serve.ingress()
class Ingress:
    def __init__(self, settings: GatewaySettings, model: str, speakers: DeploymentHandle):
        self.gateway = interface(settings, model, speakers)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self.gateway.application()


def speakers(gateway: GatewaySettings, settings: Settings, gpus: bool) -> serve.Application:
    """The speakers alone; gpus: each takes one."""
    slots = settings.segment_batch
    scale: dict[str, object] = {"num_replicas": gateway.replicas}
    if gateway.most_replicas > gateway.replicas:
        bounds = {"min_replicas": gateway.replicas, "max_replicas": gateway.most_replicas}
        scale = {"autoscaling_config": {**bounds, "target_ongoing_requests": slots}}
    return SpeakerReplica.options(
        max_ongoing_requests=slots,
        max_queued_requests=gateway.queue * gateway.most_replicas,
        graceful_shutdown_timeout_s=gateway.drain,
        ray_actor_options={"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": gateway.cores},
        **scale,
    ).bind(settings)


def build(arguments: Mapping[str, str]) -> serve.Application:
    """For `serve run` and a KubeRay RayService: `args` are the variables, and come before the environment."""
    environment = {**os.environ, **{name: str(value) for name, value in arguments.items()}}
    gpus = ray.cluster_resources().get("GPU", 0) > 0
    gateway = GatewaySettings.read(environment)
    settings = Settings.read(environment, threads=None if gpus else gateway.cores)
    ingress = Ingress.options(graceful_shutdown_timeout_s=gateway.drain)
    return ingress.bind(gateway, settings.model, speakers(gateway, settings, gpus))
