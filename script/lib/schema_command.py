"""`script/schema`: the OpenAPI schema of a predictor, in the form `cog build` gives it.

    script/schema                  write the committed files: of Predictor, StreamingPredictor and Trainer
    script/schema --check          exit 1 when one of them says something else (but for its layout)
    script/schema --predictor predict.py:Predictor --output FILE

coglet checks inputs against `.cog/openapi_schema.json` under its working directory and lets everything
through without one. The cog command writes that file, the Python package does not; here it is made of what
the package's own inspector reads off the predictor.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cog._adt import InputField, OutputKind, PredictorInfo, Repetition
from cog._inspector import _create_predictor_info, create_predictor

COMMITTED = {
    "predict.py:Predictor": ROOT / ".cog/openapi_schema.json",
    "predict.py:StreamingPredictor": ROOT
    / ".cog/stream/.cog/openapi_schema.json",  # where `script/serve --stream` runs
    "train.py:Trainer": ROOT / ".cog/train/.cog/openapi_schema.json",  # where `script/serve --train` runs
}
TRAINER = "Trainer"  # a class of this name is served by its method `train`, in Cog's train mode
OPENAPI = "3.0.2"
ITERATORS = (OutputKind.ITERATOR, OutputKind.CONCAT_ITERATOR)
TIMES = ("created_at", "started_at", "completed_at")


def title(name: str) -> str:
    return name.replace("_", " ").title()


def reference(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}"}


def enumeration(name: str, values: Iterable[object], kind: str = "string") -> dict:
    return {"title": name, "description": "An enumeration.", "enum": list(values), "type": kind}


def limit(value: float) -> int | float:
    """The inspector makes every limit a float; a whole one reads better as a whole number."""
    return int(value) if value == int(value) else value


def input_property(field: InputField) -> dict:
    """One property of `Input`. Choices are a component of their own, named as the input."""
    kind = field.type.primitive.json_type()
    found: dict = {"x-order": field.order}
    found |= {"allOf": [reference(field.name)]} if field.choices else {"title": title(field.name), **kind}
    if is_optional(field):
        found |= {"nullable": True, "default": None}
    for key, value in (
        ("description", field.description),
        ("default", field.default),
        ("minLength", field.min_length),
        ("maxLength", field.max_length),
        ("pattern", field.regex),
        ("deprecated", field.deprecated),
    ):
        if value is not None:
            found[key] = value
    for key, value in (("minimum", field.ge), ("maximum", field.le)):
        if value is not None:
            found[key] = limit(value)
    return found


def is_optional(field: InputField) -> bool:
    return field.type.repetition is Repetition.OPTIONAL


def input_components(info: PredictorInfo) -> dict[str, dict]:
    """`Input`, and an enumeration per input with choices. Raises ValueError for a list input: none is used,
    and coglet's check of one is untried."""
    for field in info.inputs.values():
        if (
            field.type.repetition not in (Repetition.REQUIRED, Repetition.OPTIONAL)
            or field.type.union_variants
        ):
            raise ValueError(f"input {field.name} is a list or a union; allowed: one plain value")
    required = [f.name for f in info.inputs.values() if f.default is None and not is_optional(f)]
    properties = {name: input_property(field) for name, field in info.inputs.items()}
    components = {
        "Input": {"title": "Input", "type": "object", "required": required, "properties": properties}
    }
    for field in info.inputs.values():
        if field.choices:
            components[field.name] = enumeration(
                field.name, field.choices, field.type.primitive.json_type()["type"]
            )
    return components


def components(info: PredictorInfo) -> dict[str, dict]:
    text = {"type": "string"}
    request = {
        "id": {"title": "Id", **text},
        "input": reference("Input"),
        "webhook": {"title": "Webhook", **text, "format": "uri"},
        "webhook_events_filter": {
            "title": "Webhook Events Filter",
            "type": "array",
            "items": reference("WebhookEvent"),
        },
    }
    response = {
        "id": {"title": "Id", **text},
        "version": {"title": "Version", **text},
        "status": reference("Status"),
        "input": reference("Input"),
        "output": reference("Output"),
        "error": {"title": "Error", **text},
        "logs": {"title": "Logs", **text},
        "metrics": {"title": "Metrics", "type": "object"},
        **{name: {"title": title(name), **text, "format": "date-time"} for name in TIMES},
    }
    problem = {
        "loc": {"title": "Location", "type": "array", "items": {"anyOf": [text, {"type": "integer"}]}},
        "msg": {"title": "Message", **text},
        "type": {"title": "Error Type", **text},
    }
    return input_components(info) | {
        "Output": info.output.json_type(),
        "PredictionRequest": {"title": "PredictionRequest", "type": "object", "properties": request},
        "PredictionResponse": {"title": "PredictionResponse", "type": "object", "properties": response},
        "Status": enumeration("Status", ("starting", "processing", "succeeded", "canceled", "failed")),
        "WebhookEvent": enumeration("WebhookEvent", ("start", "output", "logs", "completed")),
        "HTTPValidationError": {
            "title": "HTTPValidationError",
            "type": "object",
            "properties": {
                "detail": {"title": "Detail", "type": "array", "items": reference("ValidationError")}
            },
        },
        "ValidationError": {
            "title": "ValidationError",
            "type": "object",
            "required": list(problem),
            "properties": problem,
        },
    }


def content(schema: dict) -> dict:
    return {"content": {"application/json": {"schema": schema}}}


def operation(
    summary: str,
    identifier: str,
    answer: dict | None = None,
    takes: str | None = None,
    in_path: str | None = None,
) -> dict:
    """One operation; those that take something can answer 422."""
    found: dict = {"summary": summary, "operationId": identifier}
    if in_path:
        found["parameters"] = [
            {
                "name": in_path,
                "in": "path",
                "required": True,
                "schema": {"title": title(in_path), "type": "string"},
            }
        ]
    if takes:
        found["requestBody"] = content(reference(takes))
    found["responses"] = {"200": {"description": "Successful Response", **content(answer or {})}}
    if takes or in_path:
        found["responses"]["422"] = {
            "description": "Validation Error",
            **content(reference("HTTPValidationError")),
        }
    return found


def paths(streams: bool) -> dict:
    answer, takes, name = reference("PredictionResponse"), "PredictionRequest", "prediction_id"
    predict = operation("Predict", "predict_predictions_post", answer, takes)
    again = operation(
        "Predict, once per id", "predict_idempotent_predictions__prediction_id__put", answer, takes, name
    )
    if streams:
        predict["x-cog-streaming"] = True
    cancel = operation("Cancel", "cancel_predictions__prediction_id__cancel_post", in_path=name)
    return {
        "/": {"get": operation("Root", "root__get")},
        "/health-check": {"get": operation("Healthcheck", "healthcheck_health_check_get")},
        "/predictions": {"post": predict},
        "/predictions/{prediction_id}": {"put": again},
        "/predictions/{prediction_id}/cancel": {"post": cancel},
    }


def schema(predictor: str) -> dict:
    """The OpenAPI document of `predictor`, as FILE.py:CLASS under the project's root. Raises ValueError."""
    file, _, name = predictor.partition(":")
    if not file.endswith(".py") or not name:
        raise ValueError(f"predictor is {predictor!r}; allowed: FILE.py:CLASS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # predict() is the name this project keeps
        info = create_predictor(file.removesuffix(".py").replace("/", "."), name)
        if name == TRAINER:
            module = importlib.import_module(info.module_name)
            method = getattr(module, name).train
            return as_training(
                document(_create_predictor_info(info.module_name, name, method, "train", True))
            )
    return document(info)


def document(info: PredictorInfo) -> dict:
    # The decorator @cog.streaming leaves no mark that can be read here; what it is for is an iterator.
    streams = info.output.kind in ITERATORS
    return {
        "openapi": OPENAPI,
        "info": {"title": "Cog", "version": version("cog")},
        "paths": paths(streams),
        "components": {"schemas": components(info)},
    }


def as_training(document: dict) -> dict:
    """The same of a trainer: other names, and `/trainings` for `/predictions`."""
    text = json.dumps(document)
    for old, new in (
        ("predictions", "trainings"),
        ("prediction_id", "training_id"),
        ("PredictionRe", "TrainingRe"),
        ('schemas/Input"', 'schemas/TrainingInput"'),
        ('schemas/Output"', 'schemas/TrainingOutput"'),
    ):
        text = text.replace(old, new)
    renamed = json.loads(text)
    schemas = renamed["components"]["schemas"]
    for name in ("Input", "Output"):
        schemas[f"Training{name}"] = schemas.pop(name) | {"title": f"Training{name}"}
    return renamed


def as_prediction(document: dict) -> dict:
    """A trainer's document with the names that a predictor's has, where they are compared."""
    schemas, paths = document["components"]["schemas"], document["paths"]
    if "/predictions" in paths:
        return document
    named = {f"Training{name}": name for name in ("Input", "Output")}
    return {
        "components": {"schemas": {named.get(name, name): value for name, value in schemas.items()}},
        "paths": {"/predictions": paths["/trainings"]},
    }


def essence(document: dict) -> dict:
    """What a schema says of inputs and output: `cog build` writes the file anew with its own layout, version,
    titles and further entries, and says the same by it."""
    document = as_prediction(document)
    schemas = document["components"]["schemas"]
    properties = schemas["Input"]["properties"]
    choices = {name for name, told in properties.items() if "allOf" in told}
    return {
        "required": sorted(schemas["Input"].get("required", [])),
        "schemas": plain({name: schemas[name] for name in ("Output", *choices)} | {"Input": properties}),
        "streams": bool(document["paths"]["/predictions"]["post"].get("x-cog-streaming")),
    }


def plain(node: object) -> object:
    """Without titles that are texts (an input may have that name) and without nulls."""
    if isinstance(node, dict):
        return {
            key: plain(value)
            for key, value in node.items()
            if value is not None and not (key == "title" and isinstance(value, str))
        }
    return [plain(value) for value in node] if isinstance(node, list) else node


def is_stale(path: Path, wanted: dict) -> bool:
    try:
        return essence(json.loads(path.read_text(encoding="utf-8"))) != essence(wanted)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/schema", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--predictor", metavar="FILE.py:CLASS", help="only this one (default: all that are committed)"
    )
    parser.add_argument("--output", type=Path, help="where to write it (default: where it is committed)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    options = parser.parse_args(arguments)
    if options.output and not options.predictor:
        parser.error("--output needs --predictor")
    if options.predictor and not options.output and options.predictor not in COMMITTED:
        parser.error(f"--predictor {options.predictor} needs --output")
    files = COMMITTED
    if options.predictor:
        files = {options.predictor: options.output or COMMITTED[options.predictor]}
    stale = False
    for predictor, path in files.items():
        try:
            wanted = schema(predictor)
        except (ValueError, ImportError, AttributeError) as e:
            print(f"error: {e}", file=sys.stderr)
            return 1
        if options.check:
            if is_stale(path, wanted):
                print(f"{path} is stale; run script/schema", file=sys.stderr)
                stale = True
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"wrote {path}", file=sys.stderr)
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
