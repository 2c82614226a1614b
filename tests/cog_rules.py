"""What Cog reads off a predictor: `cog build` parses the file and never runs it.

The rules of Cog 0.23 for the one form this project uses: a class whose attributes are `Input(…)` of literals,
named as defaults in the signature. Whatever that parser would refuse, drop or garble fails an assertion here.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "Path": "string"}
OPTIONS = {"default", "description", "choices", "ge", "le"}


@dataclass(frozen=True)
class StaticInput:
    name: str
    kind: str
    nullable: bool
    options: dict

    @property
    def required(self) -> bool:
        return "default" not in self.options and not self.nullable


@dataclass(frozen=True)
class StaticPredictor:
    inputs: list[StaticInput]
    output: str
    streaming: bool


def read_predictor(path: Path, class_name: str, method: str) -> StaticPredictor:
    """The predictor (method "predict") or trainer ("train") `class_name` of a file."""
    source = path.read_text(encoding="utf-8")
    top = ast.parse(source).body  # nothing inside `if` or `try` counts
    classes = {node.name: node for node in top if isinstance(node, ast.ClassDef)}
    declared = {
        f"{name}.{part.targets[0].id}": part.value
        for name, node in classes.items()
        for part in node.body
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call)
    }
    own = {
        part.name: part
        for part in classes[class_name].body
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert len({"run", "predict"} & own.keys()) <= 1, "both run and predict: an error"
    function = own[method]
    arguments = function.args
    assert not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs)
    names = [argument for argument in arguments.args if argument.arg != "self"]
    assert len(names) == len(arguments.defaults), "every input has a default that says what it is"
    inputs = [
        read_input(source, argument, ast.unparse(default), declared)
        for argument, default in zip(names, arguments.defaults, strict=True)
    ]
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    if "cog.streaming" in decorators:
        assert any(isinstance(node, ast.Import) and node.names[0].name == "cog" for node in top)
    return StaticPredictor(inputs, ast.unparse(function.returns), "cog.streaming" in decorators)


def read_input(source: str, argument: ast.arg, default: str, declared: dict[str, ast.Call]) -> StaticInput:
    kind, nullable = ast.unparse(argument.annotation), False
    if match := re.fullmatch(r"Optional\[(\w+)\]", kind):
        kind, nullable = match[1], True
    assert kind in TYPES, f"{argument.arg}: type {kind}"
    assert default in declared, f"{argument.arg}: {default} is no Input(…) of a class of this file"
    call = declared[default]
    assert ast.unparse(call.func) == "Input" and not call.args, argument.arg
    options = {keyword.arg: read_option(source, keyword) for keyword in call.keywords}
    assert options.keys() <= OPTIONS, f"{argument.arg}: {options.keys() - OPTIONS}"
    if "default" in options and options["default"] is None:
        assert nullable, f"{argument.arg}: None as default of a type that is not Optional makes it required"
    return StaticInput(argument.arg, kind, nullable, options)


def read_option(source: str, keyword: ast.keyword) -> object:
    """A literal as the parser takes it: one piece, no parentheses, no escapes, numbers as they stand."""
    text = ast.get_source_segment(source, keyword.value)
    between = source.splitlines()[keyword.value.lineno - 1][: keyword.value.col_offset]
    assert not between.rstrip().endswith("("), f"{keyword.arg}: in parentheses"
    value = ast.literal_eval(keyword.value)
    if isinstance(value, str):
        assert text[1:-1] == value, f"{keyword.arg}: more than one literal on one line: {text[:60]}"
    if keyword.arg in ("ge", "le"):
        assert re.fullmatch(r"-?\d+(\.\d+)?", text), f"{keyword.arg}: {text}"
    if keyword.arg == "choices":
        assert isinstance(keyword.value, ast.List)
    return value
