"""What the documents name exists; their tables are the code's."""

import dataclasses
import inspect
import re

from predict import Predictor
from service.settings import Settings
from tests.conftest import ROOT

DOCUMENTS = {
    path: path.read_text() for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
}
NAMED = re.compile(r"(?:script|examples|tests|configs|pipeline|service|enhance|checks)/[\w./-]*\w")


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the rows below the table's `heading` row."""
    rows = text.split(heading, 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_scripts_and_files_they_name_exist():
    for document, text in DOCUMENTS.items():
        for path in NAMED.findall(text):
            assert (ROOT / path).exists(), f"{document.name}: {path}"


def anchors(text: str) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    for document, text in DOCUMENTS.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not link.startswith("http"):
                path, _, anchor = link.partition("#")
                target = document.parent / path if path else document
                assert target.exists(), f"{document.name}: {link}"
                assert not anchor or anchor in anchors(target.read_text()), f"{document.name}: {link}"


def test_every_input_is_in_its_table_and_no_other():
    inputs = set(inspect.signature(Predictor.predict).parameters) - {"self"}
    rows = table(DOCUMENTS[ROOT / "docs/inputs.md"], "| input | default | what it does |")
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == inputs


def read_variables() -> set[str]:
    """Every INDEXTTS_ variable that the code or a script reads."""
    paths = [
        p
        for top in ("finetune", "service", "fetching", "pipeline", "enhance", "script")
        for p in (ROOT / top).rglob("*")
    ]
    texts = [p.read_text() for p in paths if p.is_file() and (p.suffix in (".py", ".sh") or not p.suffix)]
    return set(re.findall(r"INDEXTTS_[A-Z_]+", "\n".join(texts)))


def test_variables_are_in_their_table_as_the_settings_say():
    rows = table(DOCUMENTS[ROOT / "docs/configuration.md"], "| variable | default | what it does |")
    told = {row[0].strip("`"): row[1:] for row in rows}
    for field in dataclasses.fields(Settings):
        said = field.metadata
        default = f"`{said['default']}`" if said["default"] else ""
        assert told.get(said["variable"]) == [default, said["help"]], said["variable"]
    assert {name for name in told if name.startswith("INDEXTTS_")} == read_variables()
