"""The HTTP interface: the OpenAI API's speech, a voice library beside it, and what operators look at."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from gateway.answers import events, late_or_wrong, sound, unless_left
from gateway.body import Asked, Upload, read_body
from gateway.fetch import fetch
from gateway.formats import MEDIA_TYPES
from gateway.keys import Keys
from gateway.measures import Measures
from gateway.problem import Problem
from gateway.replicas import Replicas
from gateway.settings import GatewaySettings
from gateway.speaker import Audio, Done, Order, Refused
from gateway.uploads import read_form, read_limited
from gateway.voices import MAX_BYTES, Library, VoiceRecord, check_adapters

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 2 * 4 * MAX_BYTES // 3 + 1_000_000  # two clips in base64 and a text
MAX_PLAIN_BYTES = 1_000_000  # of a body without files
MAX_QUICK_BYTES = 2_000
NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
ZIP = "application/zip"


class Gateway:
    """The handlers of one ingress, and what they share."""

    def __init__(
        self, settings: GatewaySettings, model: str, replicas: Replicas, measures: Measures | None = None
    ):
        self.settings, self.model, self.replicas = settings, model, replicas
        self.library = Library(settings.voices)
        self.keys = Keys(Path(settings.keys) if settings.keys else None, settings.rate)
        self.measures = measures or Measures()
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.under_way = 0

    def application(self) -> FastAPI:
        app = FastAPI(title="IndexTTS2 gateway", openapi_url=None)
        app.add_exception_handler(Problem, tell)
        app.add_exception_handler(HTTPException, tell_http)
        app.add_route("/v1/audio/speech", self.speech, methods=["POST"])  # plain, which is sooner there
        app.add_api_route("/v1/audio/voices", self.voices, methods=["GET"])
        app.add_api_route("/v1/audio/voices", self.add_voice, methods=["POST"])
        app.add_api_route("/v1/audio/voices/{name}", self.voice, methods=["GET"])
        app.add_api_route("/v1/audio/voices/{name}", self.delete_voice, methods=["DELETE"])
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/health", self.health, methods=["GET"])
        app.add_api_route("/ready", self.ready, methods=["GET"])
        app.add_api_route("/metrics", self.metrics, methods=["GET"])
        return app

    def admit(self, request: Request) -> None:
        """Raises Problem for who may not ask, or not now."""
        address = request.client.host if request.client else "unknown"
        self.keys.admit(self.keys.caller(request.headers.get("authorization"), address))

    async def speech(self, request: Request) -> Response:
        try:
            self.admit(request)
            if self.draining:
                raise Problem(503, "the server is being stopped", headers={"Retry-After": "5"})
            body = await read_limited(request, MAX_BODY_BYTES)
            if len(body) > MAX_PLAIN_BYTES and b'"data:' not in body:
                raise Problem(
                    413, f"the body has {len(body):,} bytes; allowed: {MAX_PLAIN_BYTES:,} without files"
                )
            models = frozenset({self.model})
            if len(body) > MAX_QUICK_BYTES:
                asked = await asyncio.to_thread(read_body, body, models)
            else:  # sooner read than handed to a thread
                asked = read_body(body, models)
            order = await self.order(asked)
            return await self.answer(request, order, asked.sse)
        except Problem as e:
            self.measures.requests.labels(str(e.status)).inc()
            self.measures.refusals.labels(e.code or str(e.status)).inc()
            raise

    async def order(self, asked: Asked) -> Order:
        """What a replica needs: the voices, and the files that URLs name."""
        record = await self.record(asked.voice) if asked.voice else None
        voices = {name: await self.record(name) for name in asked.names}
        files = {name: await self.content(upload, name) for name, upload in asked.files.items()}
        speaker = record or files.pop("speaker")
        check_adapters(record, voices.values())
        return Order(
            asked.inputs, speaker, files, voices, asked.format, asked.whole, asked.packed, asked.progress
        )

    async def record(self, name: str) -> VoiceRecord:
        """Of a voice of the library; what has to ask the storage is left to a thread."""
        return self.library.builtin.get(name) or await asyncio.to_thread(self.library.get, name)

    async def content(self, upload: Upload, name: str) -> bytes:
        return await fetch(upload.url, self.settings.allowed_hosts, name) if upload.url else upload.content

    async def answer(self, request: Request, order: Order, sse: bool) -> Response:
        """A response that begins when there is audio; until then a refusal has a status of its own."""
        items = self.watched(order)
        try:
            first = await unless_left(request, items)
        except BaseException:
            await items.aclose()
            raise
        if isinstance(first, Refused):
            await items.aclose()
            raise late_or_wrong(first)
        headers = {"X-Seed": str(order.inputs["seed"]), **NO_STORE}
        if sse:
            return StreamingResponse(events(first, items), media_type="text/event-stream", headers=headers)
        media_type = ZIP if order.packed else MEDIA_TYPES[order.format]
        return StreamingResponse(sound(first, items), media_type=media_type, headers=headers)

    async def watched(self, order: Order) -> AsyncIterator[Audio | Refused | Done]:
        """The order's items, counted, within the deadline."""
        start, measures, began = time.perf_counter(), self.measures, False
        self.begin()
        try:
            async with contextlib.aclosing(self.replicas.speak(order)) as items:
                deadline = asyncio.get_running_loop().time() + self.settings.deadline
                while True:
                    async with asyncio.timeout_at(deadline):
                        item = await anext(items, None)
                    if item is None:
                        break
                    if isinstance(item, Audio) and not began:
                        began = True
                        measures.first.observe(time.perf_counter() - start)
                    if isinstance(item, Done):
                        measures.done(item.metrics)
                        measures.whole.observe(time.perf_counter() - start)
                        measures.requests.labels("200").inc()
                    yield item
                    if isinstance(item, Done):
                        break
        except TimeoutError as e:
            message = f"the request waited and took longer than {self.settings.deadline:g} s"
            raise Problem(504, message, code="deadline_exceeded", headers={"Retry-After": "10"}) from e
        except (asyncio.CancelledError, GeneratorExit):
            measures.left.inc()
            raise
        finally:
            self.end()

    def begin(self) -> None:
        self.under_way += 1
        self.idle.clear()
        self.measures.under_way.set(self.under_way)

    def end(self) -> None:
        self.under_way -= 1
        self.measures.under_way.set(self.under_way)
        if not self.under_way:
            self.idle.set()

    async def drain(self, seconds: float) -> bool:
        """Take nothing new, and wait until everything is answered; whether it was within `seconds`."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                await self.idle.wait()
        except TimeoutError:
            return False
        return True

    async def voices(self, request: Request) -> dict[str, object]:
        self.admit(request)
        return {
            "object": "list",
            "voices": [record.told() for record in await asyncio.to_thread(self.library.all)],
        }

    async def voice(self, request: Request, name: str) -> dict[str, object]:
        self.admit(request)
        return (await asyncio.to_thread(self.library.get, name)).told()

    async def add_voice(self, request: Request) -> Response:
        """A form of name, audio_sample, consent, and, if need be, language, notes and adapter."""
        self.admit(request)
        form = await read_form(request)
        texts, content, adapter = (form.language, form.notes), form.content, form.adapter
        name = await asyncio.to_thread(
            self.library.check_new, form.name, form.consent, *texts, len(content), len(adapter)
        )
        report = await self.replicas.inspect(content, adapter)
        if isinstance(report, Refused):
            param = "adapter" if "adapter" in report.message else "audio_sample"
            raise Problem(400, report.message, param=param, code="invalid_value")
        record = await asyncio.to_thread(
            self.library.add, name, content, form.consent, *texts, report, adapter
        )
        return JSONResponse(record.told(), status_code=201)

    async def delete_voice(self, request: Request, name: str) -> dict[str, object]:
        self.admit(request)
        await asyncio.to_thread(self.library.delete, name)
        return {"id": name, "object": "voice", "deleted": True}

    async def models(self, request: Request) -> dict[str, object]:
        self.admit(request)
        return {
            "object": "list",
            "data": [{"id": self.model, "object": "model", "created": 0, "owned_by": "local"}],
        }

    async def health(self) -> dict[str, str]:
        return {"status": "ok"}

    async def ready(self) -> Response:
        running = 0 if self.draining else await self.replicas.running()
        status = 200 if running else 503
        return JSONResponse({"ready": bool(running), "speakers": running}, status_code=status)

    async def metrics(self) -> Response:
        return Response(self.measures.text(), media_type="text/plain; version=0.0.4")


async def tell(request: Request, problem: Problem) -> Response:
    return JSONResponse(problem.content(), status_code=problem.status, headers=problem.headers)


async def tell_http(request: Request, error: HTTPException) -> Response:
    problem = Problem(error.status_code, str(error.detail), headers=error.headers)
    return JSONResponse(problem.content(), status_code=problem.status, headers=problem.headers)
