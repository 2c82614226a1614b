"""What a request gives back: the audio, the files asked for beside it, and the metrics."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.model import Model
from pipeline.voice_file import SUFFIX, write_voice
from service.audio_output.encode import encode
from service.conversion import Converted
from service.prepared import Part, Prepared
from service.receipt import Receipt, SegmentReceipt, to_json, to_srt, to_vtt
from service.reference import Reference
from service.speak import Spoken

NAME = "speech"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes
SOUNDLESS = "the model made no sound of this; try another seed or another reference"
SUBTITLES = {"srt": to_srt, "vtt": to_vtt}


@dataclass(frozen=True)
class Result:
    """path: the audio file, or a ZIP file of it and what was asked for beside it; metrics: what
    `record_metric` takes, by name."""

    path: Path
    metrics: dict[str, object]


def write_result(
    folder: Path, prepared: Prepared, parts: Sequence[Part], setup: Mapping[str, object]
) -> Result:
    """Write the result of a request into `folder`; setup: metrics of the service, not of this request.

    Raises ValueError when nothing was spoken or the format cannot hold what was asked for."""
    request, model, rate = prepared.request, prepared.model, prepared.model.config.audio.sample_rate
    wave = torch.cat([part.chunk.wave for part in parts])
    segments = segment_receipts(parts, rate)
    if not any(segment.codes for segment in segments):
        raise ValueError(SOUNDLESS)
    with prepared.watch.stopwatch("encode"):
        audio = encode(
            wave,
            rate,
            folder / NAME,
            format=request.output_format,
            sample_rate=request.sample_rate,
            loudness=request.loudness,
        )
    receipt = make_receipt(model, prepared, segments, len(wave) / rate, audio.notes)
    extras = write_extras(folder, model, prepared, receipt)
    path = pack(folder / f"{NAME}.zip", {audio.path.name: audio.path, **extras}) if extras else audio.path
    return Result(path, {**metrics_of(receipt, prepared.reference), **setup})


def streamed_metrics(prepared: Prepared, parts: Sequence[Part]) -> dict[str, object]:
    """The metrics of a request whose parts were given away as they were done. Raises as `write_result` does."""
    model, rate = prepared.model, prepared.model.config.audio.sample_rate
    segments = segment_receipts(parts, rate)
    if not any(segment.codes for segment in segments):
        raise ValueError(SOUNDLESS)
    seconds = sum(len(part.chunk.wave) for part in parts) / rate
    return metrics_of(make_receipt(model, prepared, segments, seconds, ()), prepared.reference)


def segment_receipts(parts: Sequence[Part], rate: int) -> tuple[SegmentReceipt, ...]:
    """One a segment of a text; one for all of what was said again, which only its whole makes again."""
    converted = [(part.chunk, part.spoken) for part in parts if isinstance(part.spoken, Converted)]
    if converted:
        (first, said), (last, _) = converted[0], converted[-1]
        warnings = tuple(dict.fromkeys(line for _, part in converted for line in part.warnings))
        codes = sum(part.codes for _, part in converted)
        return (SegmentReceipt(0, "", first.start / rate, last.end / rate, codes, said.seed, warnings),)
    spoken = [(part.chunk, part.spoken) for part in parts if isinstance(part.spoken, Spoken)]
    return tuple(
        SegmentReceipt(
            index,
            said.text,
            chunk.start / rate,
            chunk.end / rate,
            said.codes,
            said.seed,
            said.warnings,
            said.written,
            said.voice,
            said.pieces,
        )
        for index, (chunk, said) in enumerate(spoken)
    )


def make_receipt(
    model: Model,
    prepared: Prepared,
    segments: tuple[SegmentReceipt, ...],
    seconds: float,
    notes: Iterable[str],
) -> Receipt:
    """seconds: of the audio; notes: what could not be written as asked."""
    elapsed = time.perf_counter() - prepared.started
    warnings = (
        *(
            f"voice {name}: {warning}" if name else warning
            for name, reference in prepared.references().items()
            if reference.report
            for warning in reference.report.warnings
        ),
        *(warning for segment in segments for warning in segment.warnings),
        *notes,
    )
    return Receipt(
        seed=prepared.request.seed,
        model=model.config.name,
        fingerprint=model.fingerprint,
        precision=model.precision,
        text=" ".join(segment.text for segment in segments),
        segments=segments,
        timings={stage: round(value, 4) for stage, value in prepared.watch.stopwatch.seconds.items()},
        audio_seconds=round(seconds, 3),
        real_time_factor=round(elapsed / seconds, 3),
        warnings=warnings,
        adapter=model.adapter,
    )


def write_extras(folder: Path, model: Model, prepared: Prepared, receipt: Receipt) -> dict[str, str | Path]:
    """What was asked for beside the audio, by its name in the ZIP file."""
    request = prepared.request
    extras: dict[str, str | Path] = {}
    if request.receipt:
        extras[f"{NAME}.json"] = to_json(receipt)
    if request.subtitles != "none":
        extras[f"{NAME}.{request.subtitles}"] = SUBTITLES[request.subtitles](receipt.segments)
    if request.return_voice:
        options = str(request.reference_options())
        for name, reference in prepared.references().items():
            path = folder / f"{name or 'voice'}{SUFFIX}"
            write_voice(path, reference.voice, model, reference.source_sha256, options)
            extras[path.name] = path
    return extras


def metrics_of(receipt: Receipt, reference: Reference) -> dict[str, object]:
    """The receipt's numbers under metric names; texts of the request are not among them."""
    metrics: dict[str, object] = {f"timing.{stage}": value for stage, value in receipt.timings.items()}
    metrics |= {
        "audio_seconds": receipt.audio_seconds,
        "real_time_factor": receipt.real_time_factor,
        "seed": receipt.seed,
        "segments": len(receipt.segments),
        "codes": sum(segment.codes for segment in receipt.segments),
        "model": receipt.model,
        "fingerprint": receipt.fingerprint,
        "precision": receipt.precision,
        "warnings": list(receipt.warnings),
    }
    if receipt.adapter:
        metrics["adapter"] = receipt.adapter
    if reference.report is not None:
        metrics |= {f"reference.{name}": value for name, value in reference.report.metrics().items()}
    return metrics


def pack(path: Path, contents: dict[str, str | Path]) -> Path:
    """A ZIP file of texts and files by name; audio is stored, not compressed again."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            data = content.read_bytes() if isinstance(content, Path) else content.encode()
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data)
    return path
