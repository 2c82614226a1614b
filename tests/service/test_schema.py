"""The committed schema: fresh, complete, in Cog's form, and what the real server holds requests to."""

import dataclasses
import inspect
import json
import re
import subprocess

import pytest
import requests
from cog.input import FieldInfo

from pipeline.config import load_config
from predict import ConcurrentPredictor, Inputs, Predictor, StreamingPredictor
from service.engine.job import STREAMS
from service.fields import Choice, Number
from service.request import Request
from tests.commands import load_command
from tests.conftest import ROOT
from tests.service.server import data_uri

COMMITTED = ROOT / ".cog/openapi_schema.json"
SPEAKER = data_uri((ROOT / "examples/speaker.wav").read_bytes())
EXAMPLES = """
from collections.abc import Iterator
from typing import Optional
from cog import BaseRunner, Input, Path, streaming

class Streaming(BaseRunner):
    @streaming
    def run(self, text: str = Input(max_length=9, regex="^a"), count: Optional[int] = Input(default=None, ge=1, le=3),
            size: int = Input(default=2, choices=[1, 2])) -> Iterator[Path]:
        yield Path(text)

class Lists(BaseRunner):
    def run(self, words: list[str]) -> str:
        return ""
"""


@pytest.fixture(scope="module")
def command():
    return load_command("schema")


@pytest.fixture(scope="module")
def schemas() -> dict:
    return json.loads(COMMITTED.read_text())["components"]["schemas"]


@pytest.fixture
def examples(command, tmp_path, monkeypatch):
    (tmp_path / "example_predictors.py").write_text(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)
    return command


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        return {node["$ref"]} if "$ref" in node else set().union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_the_committed_schemas_are_not_stale():
    done = subprocess.run([ROOT / "script/schema", "--check"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_stale_or_missing_file_is_told_and_left_alone(examples, tmp_path, capsys):
    file = tmp_path / "schema.json"
    arguments = ["--predictor", "example_predictors.py:Streaming", "--output", str(file)]
    assert examples.main([*arguments, "--check"]) == 1 and not file.exists()
    assert examples.main(arguments) == 0 and examples.main([*arguments, "--check"]) == 0
    file.write_text(file.read_text().replace('"text"', '"words"'))
    assert examples.main([*arguments, "--check"]) == 1 and "words" in file.read_text()
    assert "schema.json is stale; run script/schema" in capsys.readouterr().err
    for broken in ("", "[]", "{}", '{"components": 5}'):
        file.write_text(broken)
        assert examples.main([*arguments, "--check"]) == 1


CHANGES = {
    "another layout": (lambda d: None, False),
    "another version": (lambda d: d["info"].update(version="9", title="Theirs"), False),
    "a further path": (lambda d: d["paths"].update({"/shutdown": {"post": {}}}), False),
    "a further schema": (
        lambda d: d["components"]["schemas"].update(TrainingInput={"type": "object"}),
        False,
    ),
    "no default where it is null": (lambda d: inputs_of(d)["seed"].pop("default"), False),
    "another title": (lambda d: inputs_of(d)["seed"].update(title="S"), False),
    "an input less": (lambda d: inputs_of(d).pop("seed"), True),
    "an input more": (lambda d: inputs_of(d).update(more={"type": "string"}), True),
    "another limit": (lambda d: inputs_of(d)["num_beams"].update(maximum=9), True),
    "another choice": (lambda d: d["components"]["schemas"]["language"]["enum"].append("de"), True),
    "less required": (lambda d: d["components"]["schemas"]["Input"]["required"].remove("speaker"), True),
    "a stream": (lambda d: d["paths"]["/predictions"]["post"].update({"x-cog-streaming": True}), True),
}


def inputs_of(document: dict) -> dict:
    return document["components"]["schemas"]["Input"]["properties"]


@pytest.mark.parametrize("name", CHANGES)
def test_what_counts_is_what_it_says(command, tmp_path, name):
    """`cog build` writes the file anew."""
    change, stale = CHANGES[name]
    document = json.loads(COMMITTED.read_text())
    change(document)
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(document, sort_keys=True))
    arguments = ["--predictor", "predict.py:Predictor", "--output", str(file), "--check"]
    assert command.main(arguments) == int(stale)


def test_every_input_is_there_with_its_description_default_and_limits(schemas):
    parameters = {
        name: p for name, p in inspect.signature(Predictor.predict).parameters.items() if name != "self"
    }
    properties = schemas["Input"]["properties"]
    assert list(properties) == list(parameters)
    assert [p["x-order"] for p in properties.values()] == list(range(len(parameters)))
    assert {"speaker"} == set(schemas["Input"]["required"])
    for name, parameter in parameters.items():
        declared, written = parameter.default, properties[name]
        assert isinstance(declared, FieldInfo)
        assert written["description"] == declared.description
        assert written.get("default") == declared.default
        assert (written.get("minimum"), written.get("maximum")) == (declared.ge, declared.le)
        choices = schemas[name]["enum"] if "allOf" in written else None
        assert choices == declared.choices


@pytest.mark.parametrize("predictor", [Predictor, StreamingPredictor, ConcurrentPredictor])
def test_limits_choices_and_defaults_are_the_requests_own(predictor):
    """Said a second time in predict.py, because Cog takes them from literals alone."""
    fields = {field.name: field for field in dataclasses.fields(Request)}
    for name, parameter in inspect.signature(predictor.predict).parameters.items():
        if name == "stream":
            assert parameter.default.choices == list(STREAMS)
        if name in ("self", "stream"):
            continue
        declared, check = parameter.default, fields[name].metadata.get("check")
        assert (declared.ge, declared.le) == (
            (check.low, check.high) if isinstance(check, Number) else (None, None)
        ), name
        assert declared.choices == (list(check.values) if isinstance(check, Choice) else None), name
        if fields[name].default not in (dataclasses.MISSING, None):
            assert declared.default == fields[name].default, name


def test_the_figures_of_the_published_model_are_its_configurations():
    """Descriptions end in "Empty: the model's own, 30 for IndexTTS2."."""
    published = load_config("indextts2").synthesis
    told = {
        name: float(match[1])
        for name, declared in vars(Inputs).items()
        if isinstance(declared, FieldInfo)
        and (match := re.search(r"own, ([\d.]+) for IndexTTS2", declared.description))
    }
    assert len(told) == 11 and told == {name: getattr(published, name) for name in told}


def test_every_reference_leads_somewhere(schemas):
    for reference in references(json.loads(COMMITTED.read_text())):
        assert reference.removeprefix("#/components/schemas/") in schemas


def test_the_output_is_one_file(schemas):
    assert schemas["Output"] == {"title": "Output", "type": "string", "format": "uri"}
    assert "x-cog-streaming" not in json.loads(COMMITTED.read_text())["paths"]["/predictions"]["post"]


def test_a_streaming_predictor_and_limits_of_text(examples):
    document = examples.schema("example_predictors.py:Streaming")
    assert document["paths"]["/predictions"]["post"]["x-cog-streaming"] is True
    found = document["components"]["schemas"]
    assert found["Output"] == {
        "title": "Output",
        "type": "array",
        "items": {"type": "string", "format": "uri"},
        "x-cog-array-type": "iterator",
    }
    assert found["Input"]["required"] == ["text"]
    text, count, size = found["Input"]["properties"].values()
    assert (text["maxLength"], text["pattern"]) == (9, "^a")
    assert (count["nullable"], count["default"], count["minimum"], count["maximum"]) == (True, None, 1, 3)
    assert size == {"x-order": 2, "allOf": [{"$ref": "#/components/schemas/size"}], "default": 2}
    assert found["size"] == {
        "title": "size",
        "description": "An enumeration.",
        "enum": [1, 2],
        "type": "integer",
    }


@pytest.mark.parametrize(
    "predictor, message",
    [
        ("predict", "allowed: FILE.py:CLASS"),
        ("nothing.py:Predictor", "failed to import"),
        ("example_predictors.py:Nothing", "Nothing"),
        ("example_predictors.py:Lists", "input words is a list"),
    ],
)
def test_a_predictor_that_cannot_be_described(examples, tmp_path, capsys, predictor, message):
    assert examples.main(["--predictor", predictor, "--output", str(tmp_path / "schema.json")]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "schema.json").exists()


def test_the_server_serves_it(server):
    assert requests.get(f"{server.url}/openapi.json", timeout=10).json() == json.loads(COMMITTED.read_text())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_beams": 9}, "9 is greater than the maximum of 8"),
        ({"num_beams": 0}, "0 is less than the minimum of 1"),
        ({"num_beams": "3"}, '"3" is not of type "integer"'),
        ({"temperature": True}, 'true is not of type "number"'),
        ({"trim": 1}, '1 is not of type "boolean"'),
        ({"text": 5}, '5 is not of type "string"'),
        ({"reference_window": "middle"}, '"middle" is not one of'),
        ({"text": None}, "null is not of type"),
        ({"seed": None}, 'null is not of type "integer"'),
    ],
)
def test_the_server_rejects_what_the_schema_does_not_allow(server, change, message):
    answer = server.predict(**{"text": "Hello.", "speaker": SPEAKER} | change)
    assert answer["status"] == "http_422"
    (problem,) = [p for p in answer["error"] if message in p["msg"]]
    assert problem["loc"] == ["body", "input", *change]


def test_the_server_names_every_missing_input(server):
    answer = server.predict()
    assert answer["status"] == "http_422"
    assert {p["loc"][-1]: p["msg"] for p in answer["error"]} == {"speaker": "Field required"}
