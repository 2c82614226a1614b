"""What one replica does: an order in, audio out, with the voices it has been given already at hand."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from gateway.door import Door, Finished
from gateway.formats import encode
from gateway.voices import VoiceRecord
from pipeline.files import write_whole
from service.budget import TimeLimitError
from service.request import Request


@dataclass(frozen=True)
class Order:
    """A request as a replica gets it: inputs of `Request`, its files as voices of the library or as content, and the
    form its audio is to have. packed: a ZIP file of audio and what was asked for beside it."""

    inputs: Mapping[str, object]
    speaker: VoiceRecord | bytes
    emotion_audio: bytes | None = None
    voices: Mapping[str, VoiceRecord] = field(default_factory=dict)
    format: str = "wav"
    whole: bool = False
    packed: bool = False

    def affinity(self) -> str:
        """What a replica should know already."""
        return self.speaker.key() if isinstance(self.speaker, VoiceRecord) else ""


@dataclass(frozen=True)
class Audio:
    data: bytes


@dataclass(frozen=True)
class Refused:
    """The order cannot be served; late: its time is over."""

    message: str
    late: bool = False


@dataclass(frozen=True)
class Done:
    """The last item: what a prediction reports."""

    metrics: dict[str, object]


class Speaker:
    """Serves orders through a door."""

    def __init__(self, door: Door):
        self.door = door
        self.folder = tempfile.TemporaryDirectory(prefix="indextts-voices-")

    async def speak(self, order: Order) -> AsyncIterator[Audio | Refused | Done]:
        """Audio in pieces, in the end `Done`; or `Refused`, as the first item or after audio."""
        with tempfile.TemporaryDirectory(prefix="indextts-order-") as temporary:
            folder = Path(temporary)
            try:
                request = await asyncio.to_thread(self.request, order, folder)
                pieces = (
                    self.at_once(order, request, folder) if order.whole else self.streamed(order, request)
                )
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        yield piece
            except ValueError as e:
                yield Refused(" ".join(str(e).split()), isinstance(e, TimeLimitError))

    async def streamed(self, order: Order, request: Request) -> AsyncIterator[Audio | Done]:
        """Pieces as they are done."""
        done: list[Finished] = []
        async with contextlib.aclosing(self.door.stream(request)) as items:
            waves = only_waves(items, done)
            first = await anext(waves)  # what is refused is refused before the first byte
            encoded = encode(chained(first, waves), self.door.rate, order.format, request.sample_rate)
            async with contextlib.aclosing(encoded) as pieces:
                async for data in pieces:
                    if data:
                        yield Audio(data)
        yield Done(done[0].metrics)

    async def at_once(self, order: Order, request: Request, folder: Path) -> AsyncIterator[Audio | Done]:
        """What cannot begin before its end is known."""
        if order.packed:
            result = await self.door.whole(request, folder)
            yield Audio(result.path.read_bytes())
        else:
            plain = dataclasses.replace(request, output_format="wav", sample_rate=None)
            result = await self.door.whole(plain, folder)
            wave, rate = soundfile.read(result.path, dtype="float32")
            async for data in encode(one(wave), rate, order.format, request.sample_rate):
                yield Audio(data)
        yield Done(result.metrics)

    def request(self, order: Order, folder: Path) -> Request:
        """The order with its files on this machine."""
        speaker, emotion = order.speaker, None
        if order.emotion_audio is not None:
            emotion = folder / "emotion_audio"
            emotion.write_bytes(order.emotion_audio)
        if isinstance(speaker, bytes):
            path = folder / "speaker"
            path.write_bytes(speaker)
        else:
            path = self.file(speaker)
        voices = {name: self.file(record) for name, record in order.voices.items()}
        return Request(**order.inputs, speaker=path, emotion_audio=emotion, voices=voices)

    def file(self, record: VoiceRecord) -> Path:
        """The file of a voice, fetched once."""
        path = Path(self.folder.name) / record.sha256
        if not path.is_file():
            write_whole(path, record.read())
        return path

    async def know(self, record: VoiceRecord) -> None:
        """Have a voice at hand. Raises ValueError for a clip that cannot be used."""
        await self.door.inspect(await asyncio.to_thread(self.file, record))

    async def inspect(self, content: bytes) -> dict[str, object] | Refused:
        """What can be said of a clip."""
        with tempfile.TemporaryDirectory(prefix="indextts-clip-") as folder:
            path = Path(folder) / "clip"
            path.write_bytes(content)
            try:
                return await self.door.inspect(path)
            except ValueError as e:
                return Refused(" ".join(str(e).split()))


async def only_waves(
    items: AsyncIterator[np.ndarray | Finished], done: list[Finished]
) -> AsyncIterator[np.ndarray]:
    async for item in items:
        if isinstance(item, Finished):
            done.append(item)
        else:
            yield item


async def chained(first: np.ndarray, rest: AsyncIterator[np.ndarray]) -> AsyncIterator[np.ndarray]:
    yield first
    async for wave in rest:
        yield wave


async def one(wave: np.ndarray) -> AsyncIterator[np.ndarray]:
    yield wave
