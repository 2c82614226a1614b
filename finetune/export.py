"""What a training gives back: one ZIP file with the adapter, a voice, samples, a report and how to use them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.clips import Clip, Refusal
from finetune.dataset import Dataset
from finetune.features import Example
from finetune.loop import VALIDATION, Outcome
from finetune.options import RANK, Options
from pipeline.adapter import Adapter
from pipeline.adapter_file import NAME, write_adapter
from pipeline.voice import make_voice
from pipeline.voice_file import SUFFIX, write_voice
from service.request import Request
from service.service import Service
from training.loop import METRICS
from training.plots import read_metrics

logger = logging.getLogger(__name__)

RESULT, ARCHIVE = "result", "training.zip"
VOICE = f"voice{SUFFIX}"
SAMPLES = 2
SAMPLE_TEXTS = {
    "en": ("The quick brown fox jumps over the lazy dog.", "Please leave your umbrella by the door."),
    "zh": ("今天天气很好，我们去公园散步吧。", "请把门关上，谢谢你的帮助。"),
}
GOOD_VOICE_SECONDS = 5.0
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Export:
    """All that is told of a training: what was asked, learned, used, refused, and how the texts came about."""

    options: Options
    tensors: Mapping[str, Tensor]
    outcomes: Mapping[str, Outcome]
    dataset: Dataset
    clips: Sequence[Clip]
    refusals: Sequence[Refusal]
    texts: str
    training: Sequence[Example]
    held_out: Sequence[Example]


def write_archive(service: Service, folder: Path, export: Export) -> Path:
    """The archive, in `folder`/result. Raises OSError where the disk is full."""
    result = folder / RESULT
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    write_adapter(result / NAME, Adapter(export.options.method, dict(export.tensors)), service.model)
    speaker = write_best_voice(service, folder, export, result / VOICE)
    samples = write_samples(service, export, result)
    report = make_report(service, folder, export, speaker, samples)
    (result / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf-8")
    (result / "config.json").write_text(json.dumps(configuration(service, export), indent=1) + "\n", "utf-8")
    pictures = [picture for part in export.outcomes if (picture := draw(folder / part, result))]
    (result / "README.md").write_text(readme(service, report, pictures), "utf-8")
    return pack(result)


def configuration(service: Service, export: Export) -> dict:
    model = service.model
    return {
        "base": model.config.name,
        "fingerprint": model.fingerprint,
        "method": export.options.method,
        "rank": RANK if export.options.method == "lora" else None,
        "parts": sorted({name.partition(".")[0] for name in export.tensors}),
        "options": json.loads(export.options.to_json()),
    }


def write_best_voice(service: Service, folder: Path, export: Export, path: Path) -> str:
    """The voice file of the clip that is most like all of them, of those that are long enough; returns its source."""
    examples = [*export.training, *export.held_out]
    styles = F.normalize(torch.stack([example.tensors["style"] for example in examples]), dim=-1)
    likeness = styles @ styles.mean(0)
    long = torch.tensor([example.seconds >= GOOD_VOICE_SECONDS for example in examples])
    best = examples[int((likeness + long.float() * 2).argmax())]
    samples, rate = soundfile.read(folder / best.clip.file, dtype="float32")
    voice = make_voice(service.model, torch.from_numpy(samples)[None], rate)
    write_voice(path, voice, service.model, "", "of a training")
    return best.clip.source


def write_samples(service: Service, export: Export, result: Path) -> list[dict]:
    """Sentences in that voice, before and after: held-out ones where there are some."""
    texts = [e.clip.text for e in export.held_out if e.clip.text]
    language = export.options.language
    spoken = service.model.config.languages
    own = SAMPLE_TEXTS[language if language != "auto" else ("en" if "en" in spoken else spoken[0])]
    told = []
    for number, text in enumerate([*texts, *own][:SAMPLES], 1):
        entry: dict[str, object] = {"text": text}
        for name, adapter in (("before", None), ("after", result / NAME)):
            try:
                said = service.run(Request(text, result / VOICE, adapter=adapter, seed=number), result)
            except ValueError as e:
                entry[name] = f"not spoken: {e}"
                continue
            file = f"sample-{number}-{name}.wav"
            os.replace(said.path, result / file)
            entry[name] = file
        told.append(entry)
    return told


def make_report(
    service: Service, folder: Path, export: Export, speaker: str, samples: Sequence[dict]
) -> dict:
    def minutes(examples: Sequence[Example]) -> float:
        return round(sum(example.seconds for example in examples) / 60, 2)

    trained = {}
    for part, outcome in export.outcomes.items():
        log = folder / part / METRICS
        losses = read_metrics(log).get("loss", []) if log.exists() else []
        trained[part] = {
            "steps": outcome.steps,
            "given": outcome.given,
            "stopped": outcome.stopped,
            "loss": {"first": losses[0][1], "last": losses[-1][1]} if losses else None,
            "held_out": validation_losses(folder / part),
        }
    return {
        **configuration(service, export),
        "form": export.dataset.form,
        "recordings": len(export.dataset.recordings),
        "clips": {
            "trained_on": len(export.training),
            "held_out": len(export.held_out),
            "with_text": sum(e.ids is not None for e in [*export.training, *export.held_out]),
            "minutes": minutes(export.training),
            "held_out_minutes": minutes(export.held_out),
        },
        "texts": export.texts,
        "refused": [dataclasses.asdict(refusal) for refusal in export.refusals],
        "trained": trained,
        "voice_of": speaker,
        "samples": list(samples),
    }


def validation_losses(folder: Path) -> list[dict]:
    """By step; where a run went on from a checkpoint the later one counts."""
    path = folder / VALIDATION
    if not path.exists():
        return []
    found = {entry["step"]: entry for entry in map(json.loads, path.read_text("utf-8").splitlines())}
    return [found[step] for step in sorted(found)]


def draw(run: Path, result: Path) -> str | None:
    """The loss curves of a run as a picture; None where nothing can draw (matplotlib is not installed)."""
    try:
        import matplotlib
    except ImportError:
        logger.warning("no pictures of the losses: matplotlib is not installed")
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in read_metrics(run / METRICS).items():
        if name not in ("gradient", "of"):
            panel.plot(*zip(*points, strict=True), label=name)
    if held_out := validation_losses(run):
        steps, losses = zip(*((entry["step"], entry["loss"]) for entry in held_out), strict=True)
        panel.plot(steps, losses, "o--", label="held out (averaged weights)")
    panel.set(title=run.name, xlabel="step", ylabel="loss")
    panel.legend(fontsize="small")
    name = f"losses-{run.name}.png"
    figure.savefig(result / name, dpi=100)
    pyplot.close(figure)
    return name


def readme(service: Service, report: Mapping, pictures: Sequence[str]) -> str:
    """How to use what is in the archive, and what was done, for somebody who opens it."""
    model = service.model.config.name
    lines = [
        f"# Trained on {report['clips']['minutes']:g} minutes of speech",
        "",
        f"An adapter for `{model}` (fingerprint `{service.model.fingerprint[:12]}`), method {report['method']}.",
        "Use it with this archive or the `adapter.safetensors` in it:",
        "",
        "```sh",
        f'INDEXTTS_MODEL={model} script/predict -i text="Hello there." -i speaker=@{VOICE} '
        f"-i adapter=@{NAME} -o out.wav",
        "```",
        "",
        f"{report['recordings']} recordings ({report['form']}); {report['clips']['trained_on']} clips trained on, "
        f"{report['clips']['held_out']} held out, {report['clips']['with_text']} with a text. {report['texts']}.",
        f"The voice file is of {report['voice_of']}.",
        "",
    ]
    for part, told in report["trained"].items():
        held = told["held_out"]
        losses = {entry["step"]: entry["loss"] for entry in held}
        shown = f"; held out {held[0]['loss']:.4f} → {losses[told['given']]:.4f}" if held else ""
        lines.append(f"* {part}: {told['steps']} steps, given is step {told['given']}{shown}")
        if told["stopped"]:
            lines.append(f"  **{told['stopped']}**")
    lines += ["", *(f"![{name}]({name})" for name in pictures), ""]
    for sample in report["samples"]:
        lines.append(f"* “{sample['text']}”: {sample['before']}, {sample['after']}")
    if report["refused"]:
        lines += ["", f"## Not used ({len(report['refused'])})", ""]
        lines += [f"* {refusal['source']}: {refusal['reason']}" for refusal in report["refused"]]
    return "\n".join(lines) + "\n"


def pack(result: Path) -> Path:
    """A ZIP file of all that is in a folder, beside it; written whole or not at all."""
    archive = result / ARCHIVE
    partial = result.parent / f".{ARCHIVE}.part"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(result.iterdir()):
            packed.writestr(zipfile.ZipInfo(path.name, ZIP_DATE), path.read_bytes())
    os.replace(partial, archive)
    return archive
