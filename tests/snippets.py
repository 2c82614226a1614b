"""The fenced blocks of the documents, and why one of them is not run."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Snippet:
    """reason: why it is not run, None where it is; index: among the fences of its document."""

    document: str
    index: int
    language: str
    code: str
    reason: str | None

    def __str__(self) -> str:
        return f"{Path(self.document).stem}-{self.index}-{self.language or 'text'}"


def read_snippets(document: str, text: str) -> list[Snippet]:
    found = [
        Snippet(document, index, match["language"], match["code"], match["reason"])
        for index, match in enumerate(FENCE.finditer(text))
    ]
    assert len(found) * 2 == len(re.findall(r"^\s*(?:```|~~~)", text, re.M)), (
        f"{document}: a fence of another form"
    )
    return found


def snippets(*languages: str) -> list[Snippet]:
    """All that are to be run, of the languages given or of all."""
    every = [s for document in DOCUMENTS for s in read_snippets(document, (ROOT / document).read_text())]
    return [s for s in every if s.reason is None and (not languages or s.language in languages)]
