"""What one replica does: an order in, audio out, with the voices it has been given already at hand."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from gateway.door import Door, Finished
from gateway.formats import encode
from gateway.progress import Progress, Reports, reported
from gateway.voices import VoiceRecord
from pipeline.files import write_whole
from pipeline.timing import OnProgress, no_progress
from service.budget import TimeLimitError
from service.request import Request

PIECE_BYTES = 2**18  # of a file that is sent


@dataclass(frozen=True)
class Order:
    """A request as a replica gets it: inputs of `Request`, the speaker and voices of the library or as content, the
    content of its other files by the input's name, and the form its audio is to have. packed: a ZIP file of audio and
    what was asked for beside it; progress: told on the way."""

    inputs: Mapping[str, object]
    speaker: VoiceRecord | bytes
    files: Mapping[str, bytes] = field(default_factory=dict)
    voices: Mapping[str, VoiceRecord] = field(default_factory=dict)
    format: str = "wav"
    whole: bool = False
    packed: bool = False
    progress: bool = False

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

    async def speak(self, order: Order) -> AsyncIterator[Audio | Refused | Done | Progress]:
        """Audio in pieces, in the end `Done`; or `Refused`, as the first item or after audio."""
        at_hand = self.at_hand(order)
        # Without need there is no folder, whose removal can keep a disk for milliseconds, and no thread.
        own = tempfile.TemporaryDirectory(prefix="indextts-order-") if order.whole or not at_hand else None
        with own or contextlib.nullcontext(self.folder.name) as temporary:
            folder = Path(temporary)
            try:
                if at_hand:
                    request = self.request(order, folder)
                else:
                    request = await asyncio.to_thread(self.request, order, folder)
                reports = Reports() if order.progress else None
                on_progress = reports or no_progress
                pieces = (
                    self.at_once(order, request, folder, on_progress)
                    if order.whole
                    else self.streamed(order, request, on_progress)
                )
                async with contextlib.aclosing(pieces):
                    told = reported(pieces, reports) if reports else pieces
                    async with contextlib.aclosing(told):
                        async for item in told:
                            yield item
            except ValueError as e:
                yield Refused(" ".join(str(e).split()), isinstance(e, TimeLimitError))

    async def streamed(
        self, order: Order, request: Request, on_progress: OnProgress
    ) -> AsyncIterator[Audio | Done]:
        """Pieces as they are done."""
        done: list[Finished] = []
        async with contextlib.aclosing(self.door.stream(request, on_progress)) as items:
            waves = only_waves(items, done)
            first = await anext(waves)  # what is refused is refused before the first byte
            encoded = encode(chained(first, waves), self.door.rate, order.format, request.sample_rate)
            async with contextlib.aclosing(encoded) as pieces:
                async for data in pieces:
                    if data:
                        yield Audio(data)
        yield Done(done[0].metrics)

    async def at_once(
        self, order: Order, request: Request, folder: Path, on_progress: OnProgress
    ) -> AsyncIterator[Audio | Done]:
        """What cannot begin before its end is known."""
        if order.packed:
            result = await self.door.whole(request, folder, on_progress)
            with result.path.open("rb") as file:
                while data := file.read(PIECE_BYTES):
                    yield Audio(data)
        else:
            plain = dataclasses.replace(request, output_format="wav", sample_rate=None)
            result = await self.door.whole(plain, folder, on_progress)
            wave, rate = soundfile.read(result.path, dtype="float32")
            async for data in encode(one(wave), rate, order.format, request.sample_rate):
                yield Audio(data)
        yield Done(result.metrics)

    def at_hand(self, order: Order) -> bool:
        """Whether all files of the order lie here already."""
        if order.files or not isinstance(order.speaker, VoiceRecord):
            return False
        records = (order.speaker, *order.voices.values())
        digests = {*(record.sha256 for record in records), order.speaker.adapter} - {""}
        return all(Path(self.folder.name, digest).is_file() for digest in digests)

    def request(self, order: Order, folder: Path) -> Request:
        """The order with its files on this machine."""
        contents, files = dict(order.files), {}
        if isinstance(order.speaker, VoiceRecord):
            files["speaker"] = self.file(order.speaker.sha256, order.speaker.read)
            if order.speaker.adapter and "adapter" not in contents:
                files["adapter"] = self.file(order.speaker.adapter, order.speaker.read_adapter)
        else:
            contents["speaker"] = order.speaker
        for name, content in contents.items():
            files[name] = folder / name
            files[name].write_bytes(content)
        voices = {name: self.file(record.sha256, record.read) for name, record in order.voices.items()}
        return Request(**order.inputs, **files, voices=voices or None)

    def file(self, sha256: str, read: Callable[[], bytes]) -> Path:
        """A file of the library, fetched once."""
        path = Path(self.folder.name) / sha256
        if not path.is_file():
            write_whole(path, read())
        return path

    async def know(self, record: VoiceRecord) -> None:
        """Have a voice at hand. Raises ValueError for a clip that cannot be used."""
        await self.door.inspect(await asyncio.to_thread(self.file, record.sha256, record.read))

    async def inspect(self, content: bytes, adapter: bytes = b"") -> dict[str, object] | Refused:
        """What can be said of a clip; `Refused` where it, or an adapter that comes with it, cannot be used."""
        with tempfile.TemporaryDirectory(prefix="indextts-clip-") as folder:
            path, adapter_path = Path(folder) / "clip", Path(folder) / "adapter"
            path.write_bytes(content)
            adapter_path.write_bytes(adapter)
            try:
                return await self.door.inspect(path, adapter_path if adapter else None)
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
