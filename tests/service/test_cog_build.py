"""`cog build` can read every predictor that a cog*.yaml names, and reads what the committed schemas say."""

import json

import pytest
import yaml

from tests.cog_rules import TYPES, StaticPredictor, read_predictor
from tests.conftest import ROOT

SCHEMAS = {
    "cog.yaml": ".cog/openapi_schema.json",
    "cog.2.5.yaml": ".cog/openapi_schema.json",
    "cog.concurrent.yaml": ".cog/openapi_schema.json",
    "cog.stream.yaml": ".cog/stream/.cog/openapi_schema.json",
    "cog.train.yaml": ".cog/train/.cog/openapi_schema.json",
}
RESERVED = ("R8_", "REPLICATE_", "CUDA_", "PGET_", "HF_ENDPOINT")


def predictor_of(name: str) -> StaticPredictor:
    content = yaml.safe_load((ROOT / name).read_text())
    method = "train" if "train" in content else "predict"
    file, class_name = content[method].split(":")
    return read_predictor(ROOT / file, class_name, method)


def test_every_configuration_has_a_schema():
    assert {path.name for path in ROOT.glob("cog*.yaml")} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_cog_reads_what_the_schema_says(name):
    """Order, types, what is required, defaults, limits, choices, descriptions, output, streaming. What counts
    is the
    content: `cog build` writes the file anew in its own layout."""
    predictor, document = predictor_of(name), json.loads((ROOT / SCHEMAS[name]).read_text())
    schemas = document["components"]["schemas"]
    training = "Training" if "TrainingInput" in schemas else ""
    path = "/trainings" if training else "/predictions"
    properties = schemas[f"{training}Input"]["properties"]
    assert sorted(properties, key=lambda key: properties[key]["x-order"]) == [
        i.name for i in predictor.inputs
    ]
    assert set(schemas[f"{training}Input"]["required"]) == {i.name for i in predictor.inputs if i.required}
    for read in predictor.inputs:
        told, options = properties[read.name], read.options
        enumerated = schemas[read.name] if "allOf" in told else {}
        assert (enumerated or told)["type"] == TYPES[read.kind], read.name
        assert told.get("nullable", False) == read.nullable, read.name
        assert told["description"] == options["description"] and told.get("default") == options.get("default")
        assert (told.get("minimum"), told.get("maximum")) == (options.get("ge"), options.get("le"))
        assert enumerated.get("enum") == options.get("choices")
    streams = document["paths"][path]["post"].get("x-cog-streaming", False)
    assert streams == predictor.streaming == ("Iterator" in predictor.output)
    assert ("array" if streams else "string") == schemas[f"{training}Output"]["type"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_configuration_holds_nothing_that_cog_refuses(name):
    content = yaml.safe_load((ROOT / name).read_text())
    assert (
        "python_packages" not in content["build"]
        and (ROOT / content["build"]["python_requirements"]).is_file()
    )
    assert not [line for line in content.get("environment", []) if line.startswith(RESERVED)]


BROKEN = {
    "a name bound at the top": "Inputs.text",
    "parentheses": 'Input(description=("a" "b"))',
    "two pieces": 'Input(description="a" "b")',
    "an escape": r'Input(description="a\tb")',
    "a power": "Input(default=1, ge=0, le=2**3)",
    "a tuple of choices": 'Input(default="a", choices=("a", "b"))',
    "None without Optional": "Input(default=None)",
}


@pytest.mark.parametrize("form", BROKEN)
def test_what_cog_cannot_read_is_found(form, tmp_path):
    value = BROKEN[form]
    inputs = "TEXT = Input()" if value == "Inputs.text" else f"class Inputs:\n    text = {value}\n"
    default = "TEXT" if value == "Inputs.text" else "Inputs.text"
    predictor = f"class P:\n    def predict(self, text: str = {default}) -> str:\n        return text\n"
    code = f"from cog import *\n{inputs}\n{predictor}"
    (tmp_path / "p.py").write_text(code)
    with pytest.raises((AssertionError, ValueError)):
        read_predictor(tmp_path / "p.py", "P", "predict")
