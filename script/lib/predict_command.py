"""`script/predict`: one prediction in this process, with the grammar of `cog predict`.

script/predict -i text="Hello there." -i speaker=@examples/speaker.wav -o out.wav
"""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import sys
import tempfile
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cog import Path as CogPath
from cog.input import FieldInfo


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/predict", description="Run one prediction, like `cog predict`."
    )
    parser.add_argument(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input; NAME=@FILE gives a file (of a text input: its content). Repeatable.",
    )
    parser.add_argument("-o", "--output", type=Path, help="where to write the result (default: output.wav)")
    parser.add_argument(
        "--json", action="store_true", help="print status, output and metrics as JSON on stdout"
    )
    return parser.parse_args(arguments)


def input_type(annotation: object) -> type:
    """The type inside Optional[…]."""
    inner = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return inner[0] if inner else annotation


def convert(name: str, value: str, kind: type, folder: Path) -> object:
    """A command line value as the type of its input; files are copied to `folder`, as the server does.

    Raises ValueError when it does not fit."""
    is_file = value.startswith("@")
    if is_file and not Path(value[1:]).is_file():
        raise ValueError(f"{name}: no such file: {value[1:]}")
    if issubclass(kind, Path):
        if not is_file:
            raise ValueError(f"{name} takes a file: -i {name}=@FILE")
        return CogPath(shutil.copyfile(value[1:], folder / f"{name}{Path(value).suffix}"))
    if is_file:
        value = Path(value[1:]).read_text(encoding="utf-8")
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name} is '{value}'; allowed: true, false")
        return value.lower() == "true"
    if kind is str:
        return value
    try:
        return kind(value)
    except ValueError as e:
        raise ValueError(f"{name} is '{value}', not {'a whole number' if kind is int else 'a number'}") from e


def read_inputs(pairs: list[str], function, folder: Path) -> dict[str, object]:
    """Keyword arguments for `function`, with its defaults filled in. Raises ValueError."""
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}
    hints = typing.get_type_hints(function)
    values = {
        name: p.default.default if isinstance(p.default, FieldInfo) else p.default
        for name, p in parameters.items()
    }
    given: set[str] = set()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in parameters:
            raise ValueError(f"-i {pair[:60]}: expected NAME=VALUE with a NAME of {', '.join(parameters)}")
        values[name] = convert(name, value, input_type(hints[name]), folder)
        given.add(name)
    needed = [
        name
        for name, p in parameters.items()
        if name not in given and type(None) not in typing.get_args(hints[name]) and values[name] is None
    ]
    if needed:
        raise ValueError(f"missing input: {', '.join(needed)}")
    return values


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    metrics: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="indextts-inputs-") as folder:
        try:
            from predict import Predictor

            inputs = read_inputs(options.input, Predictor.predict, Path(folder))
            predictor = Predictor()
            predictor.record_metric = lambda key, value, mode="replace": metrics.update({key: value})
            predictor.setup_once()
            result = predictor.predict(**inputs)
        except ValueError as e:
            if options.json:
                print(json.dumps({"status": "failed", "error": str(e)}))
            print(f"error: {e}", file=sys.stderr)
            return 1
        output = options.output or Path(f"output{result.suffix}")
        shutil.copyfile(result, output)
    if options.json:
        print(
            json.dumps({"status": "succeeded", "output": str(output), "metrics": metrics}, ensure_ascii=False)
        )
    print(f"Written output to: {output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
