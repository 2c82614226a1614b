"""How a model's voices sound: `script/quality [--model NAME] [--sentences N] [--jobs N] [--teacher] [--out FOLDER]`.

Two sets of sentences that nothing was trained on (checks/sentences) are spoken in voices that nothing was
trained on (checks/material.py) and judged (checks/judges.py): the share of words a recognizer gets wrong,
naturalness, likeness to the reference, whether its own reference is the nearest, whether the end of speech
was found. With --teacher, the teacher speaks the same sentences in its voices and is judged the same way.

What was spoken or judged is kept in FOLDER/cases under a hash of model, code, text, reference and settings: a run that
was stopped goes on where it was. Writes quality.json, transcripts.txt, spectrograms.png, alignment.png and, if the
model directory has its training logs, losses.png.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml

from checks import figures, judges, material, pictures
from checks.figures import Case
from checks.material import Reference, Sentence
from checks.words import compare
from pipeline.files import write_whole
from pipeline.strict import to_dict
from service.catalog import embedded_directory
from service.request import Request
from service.service import Service
from service.settings import Settings
from training import kokoro, plots
from training.export import LOGS

CODE = ("pipeline", "service", "enhance")  # what a wave depends on, besides the weights
UNENDED = "without an end of speech"  # of the warning service.finish gives
TEACHER = "teacher"
logger = logging.getLogger(__name__)
_service: Service | None = None  # of a speaking process


@dataclasses.dataclass(frozen=True)
class Job:
    """A sentence to speak in a voice into a file. Facts of the synthesis go beside it, as JSON."""

    model: str
    sentence: Sentence
    reference: Reference
    path: Path

    @property
    def facts(self) -> Path:
        return self.path.with_suffix(".json")

    @property
    def judgement(self) -> Path:
        return self.path.with_suffix(".judged.json")


def digest(*parts: object) -> str:
    """Of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def code_digest() -> str:
    """Of the source a wave depends on."""
    files = sorted(path for folder in CODE for path in (judges.ROOT / folder).rglob("*.py"))
    return digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])


def model_files_digest(name: str) -> str:
    """Of the files a wave depends on beside weights and configuration: vocabulary, dictionary, glossary."""
    folder = Path(name) if Path(name).is_dir() else embedded_directory(name)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != LOGS)
    small = [path for path in files if path.suffix not in (".safetensors", ".pth", ".bin")]
    return digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in small])


def write_json(path: Path, content: object) -> None:
    """Whole or not at all: a stopped run leaves no half file."""
    write_whole(path, json.dumps(content, indent=1).encode())


def start(model: str | None) -> None:
    """Of a speaking process."""
    global _service
    _service = Service(Settings.read(model=model))


def speak(job: Job, settings: dict[str, object]) -> Job:
    """Speak `job` with this process's service."""
    request = Request(job.sentence.text, job.reference.path, **{"seed": job.sentence.number, **settings})
    partial = job.path.with_suffix(f".{os.getpid()}.partial")
    with tempfile.TemporaryDirectory(prefix="indextts-quality-") as folder:
        result = _service.run(request, Path(folder))
        shutil.copyfile(result.path, partial)
    partial.replace(job.path)
    metrics = result.metrics
    write_json(
        job.facts,
        {"real_time_factor": float(metrics["real_time_factor"]), "warnings": list(metrics["warnings"])},
    )
    return job


def speak_all(jobs: Sequence[Job], model: str | None, settings: dict[str, object], processes: int) -> None:
    """Those that are not there yet, in so many processes."""
    missing = [job for job in jobs if not (job.path.is_file() and job.facts.is_file())]
    if not missing:
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch as the processes start
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context, start, (model,)) as pool:
        futures = [pool.submit(speak, job, settings) for job in missing]
        try:
            for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
                job = future.result()
                logger.info(
                    "spoken %d/%d: %s, %s", count, len(missing), job.reference.name, job.sentence.text
                )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def teach_all(jobs: Sequence[Job], folder: Path) -> None:
    """Let the teacher speak those that are not there yet, in the judges' environment. RuntimeError if it cannot."""
    missing = [job for job in jobs if not job.path.is_file()]
    if missing:
        lines = (
            json.dumps({"path": str(job.path), "voice": job.reference.name, "text": job.sentence.text})
            for job in missing
        )
        command = [str(judges.PYTHON), "-m", "checks.teacher", str(folder)]
        try:
            subprocess.run(command, cwd=judges.ROOT, input="\n".join(lines), text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise RuntimeError(f"the teacher cannot speak: {e}") from e
    for job in jobs:
        write_json(job.facts, {"real_time_factor": None, "warnings": []})


def judge_jobs(jobs: Sequence[Job], processes: int) -> dict[Path, dict]:
    """What the judges say, by path; kept beside the waves."""
    missing = [job for job in jobs if not job.judgement.is_file()]
    results = judges.judge_all([job.path for job in missing], processes)
    for count, (job, result) in enumerate(zip(missing, results, strict=True), 1):
        write_json(job.judgement, result)
        logger.info("judged %d/%d: %s | %s", count, len(missing), job.sentence.text, result["heard"])
    return {job.path: json.loads(job.judgement.read_text()) for job in jobs}


def judge_references(references: Sequence[Reference], folder: Path) -> dict[str, dict]:
    """What the judges say of the references themselves, by name; kept in `folder`."""
    jobs = [
        Job("reference", Sentence("", 0, one.name), one, folder / f"{one.sha256[:24]}.wav")
        for one in references
    ]
    missing = [job for job in jobs if not job.judgement.is_file()]
    results = judges.judge_all([job.reference.path for job in missing])
    for job, result in zip(missing, results, strict=True):
        if result["embedding"] is None:
            raise ValueError(f"reference {job.reference.name} holds no speech")
        write_json(job.judgement, result)
    return {job.reference.name: json.loads(job.judgement.read_text()) for job in jobs}


def case_of(job: Job, judged: dict, voices: dict[str, dict]) -> Case:
    """What was spoken for `job` and what the judges say of it, together."""
    facts = json.loads(job.facts.read_text())
    compared = compare(job.sentence.text, judged["heard"])
    vector = judged["embedding"]
    return Case(
        model=job.model,
        set=job.sentence.set,
        number=job.sentence.number,
        text=job.sentence.text,
        reference=job.reference.name,
        path=job.path.name,
        heard=judged["heard"],
        errors=compared.errors,
        words=compared.words,
        left_out=compared.left_out,
        said_twice=compared.said_twice,
        distillmos=judged["distillmos"],
        dnsmos=judged["dnsmos"],
        similarities={}
        if vector is None
        else {name: round(float(np.dot(vector, one["embedding"])), 4) for name, one in voices.items()},
        ended=not any(UNENDED in warning for warning in facts["warnings"]),
        warnings=tuple(facts["warnings"]),
        real_time_factor=facts["real_time_factor"],
    )


def transcripts(cases: Iterable[Case]) -> str:
    """Said and heard, the worst first, with what was left out and said twice."""
    lines = []
    for case in sorted(cases, key=lambda case: -case.errors / case.words):
        lines += [
            f"{case.model} {case.reference} {case.path}: {case.errors} of {case.words}",
            f"  {case.text}",
        ]
        lines += [f"  {case.heard}"]
        for name in ("left_out", "said_twice"):
            if found := getattr(case, name):
                lines += [f"  {name.replace('_', ' ')}: {' '.join(found)}"]
    return "\n".join(lines) + "\n"


def draw(service: Service, cases: Sequence[Case], references: dict[str, Reference], out: Path) -> None:
    """The first sentence in each voice, the model's beside the teacher's or the reference; what its GPT attends to."""
    shown = []
    for name, reference in references.items():
        own = [case for case in cases if case.reference == name]
        text = own[0].text
        waves = [(case.model, out / "cases" / case.path) for case in own if case.text == text]
        if len(waves) == 1:
            waves.append(("reference", reference.path))
        shown += [(f"{who} {name}: {text}", *soundfile.read(path, dtype="float32")) for who, path in waves]
    pictures.draw_spectrograms(service.model.config.audio, shown, out / "spectrograms.png")
    first = cases[0]
    pictures.draw_alignment(service, first.text, references[first.reference].path, out / "alignment.png")
    logs = sorted((embedded_directory(service.model.config.name) / LOGS).glob("*.txt"))
    if logs:
        plots.plot_logs(logs, out / "losses.png")


def setting(pair: str) -> tuple[str, object]:
    """NAME=VALUE of a request's option."""
    name, equals, value = pair.partition("=")
    allowed = {field.name for field in dataclasses.fields(Request)} - {"text", "speaker"}
    if not equals or name not in allowed:
        raise argparse.ArgumentTypeError(
            f"'{pair}'; allowed: NAME=VALUE with a NAME of {', '.join(sorted(allowed))}"
        )
    return name, yaml.safe_load(value)


def positive(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"'{value}'; allowed: a whole number from 1")
    return int(value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", help="a name in configs/ or a model directory (default: the one that is served)"
    )
    parser.add_argument("--sentences", type=positive, help="only the first N of each set")
    parser.add_argument(
        "--references", nargs="+", metavar="NAME", help="speak in these alone (all stay to compare with)"
    )
    parser.add_argument("--set", dest="settings", type=setting, action="append", default=[], metavar="NAME=VALUE",
                        help="an option of every request, such as diffusion_steps=8; repeatable")  # fmt: skip
    parser.add_argument("--jobs", type=positive, default=1, help="processes that speak and judge")
    parser.add_argument("--teacher", action="store_true", help="measure the teacher, too")
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("pipeline", "service"):
        logging.getLogger(name).setLevel(logging.WARNING)
    out, settings = arguments.out.resolve(), dict(arguments.settings)
    folder = out / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    everyone = material.teacher_references() + material.human_references(out / "human")
    voices = judge_references(everyone, folder)
    wanted = arguments.references or list(voices)
    if unknown := set(wanted) - set(voices):
        parser.error(f"unknown references {', '.join(sorted(unknown))}; known: {', '.join(voices)}")
    references = {one.name: one for one in everyone if one.name in wanted}
    spoken = material.sentences(arguments.sentences)
    service = Service(Settings.read(model=arguments.model))
    name = service.model.config.name
    made_by = [
        service.model.fingerprint,
        to_dict(service.model.config),
        model_files_digest(arguments.model or name),
        code_digest(),
        settings,
    ]

    def jobs(model: str, some: Iterable[Reference], *key: object) -> list[Job]:
        return [
            Job(
                model,
                sentence,
                one,
                folder / f"{digest(*key, one.sha256, sentence.text, sentence.number)}.wav",
            )
            for sentence in spoken
            for one in some
        ]

    own = jobs(name, references.values(), made_by)
    speak_all(own, arguments.model, settings, arguments.jobs)
    taught = []
    if arguments.teacher:
        taught = jobs(TEACHER, [one for one in references.values() if one.teacher], kokoro.MODEL_SHA256)
        teach_all(taught, out / "kokoro")
    judged = judge_jobs(own + taught, arguments.jobs)
    cases = [case_of(job, judged[job.path], voices) for job in own + taught]
    groups = {
        who: [case for case in cases if case.model == who] for who in dict.fromkeys(c.model for c in cases)
    }
    summaries = {who: figures.summary(some) for who, some in groups.items()}
    real_time = statistics.median(case.real_time_factor for case in groups[name])
    report = {
        "model": name,
        "fingerprint": service.model.fingerprint,
        "settings": settings,
        "torch": torch.__version__,
        "real_time_factor_median": real_time,
        "references": {one: {key: voices[one][key] for key in ("heard", "distillmos", "dnsmos")} for one in voices},
        "summary": {who: {group: {measure: dataclasses.asdict(one) for measure, one in values.items()}
                          for group, values in found.items()} for who, found in summaries.items()},
        "cases": [dataclasses.asdict(case) for case in cases],
    }  # fmt: skip
    write_json(out / "quality.json", report)
    (out / "transcripts.txt").write_text(transcripts(cases))
    draw(service, cases, references, out)
    for who, found in summaries.items():
        print(f"{who}: {len(groups[who])} cases\n{figures.table(found)}\n")
    print(
        "the references themselves: distillmos", {one: round(voices[one]["distillmos"], 2) for one in voices}
    )
    print(f"real-time factor, median: {real_time:.3f}")


if __name__ == "__main__":
    main()
