"""What users bring: `brings` marks the test of one layout, format or option, and docs/inputs.md is the table of them.

python -m tests.inputs        writes the page anew; `tests/test_docs.py` compares it
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pytest

Area: TypeAlias = Literal["labels", "pairs", "pictures", "tables", "options", "downloads"]
Outcome: TypeAlias = Literal["works", "reported", "refused"]

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "inputs.md"
TITLES: Final[dict[Area, str]] = {
    "labels": "Labels",
    "pairs": "Folders and pairs",
    "pictures": "Pictures",
    "tables": "Tables of scores",
    "options": "The command line",
    "downloads": "Datasets and weights by network",
}
HEAD: Final = """# What people bring, and what happens

Every row is a test that carries it; `python -m tests.inputs` writes this page from them.
*Works*: the right values. *Reported*: the run goes on, and `data check` and the start of a run say it in one line.
*Refused*: one line that names the file, the value and what to do.
"""


def brings(area: Area, what: str, outcome: Outcome, how: str) -> pytest.MarkDecorator:
    """Marks the test of something that a user brings; all four as literals, which the page's writer reads.

    Args:
        area: The page's section.
        what: What the user has: a layout, a format, a value.
        outcome: What becomes of it.
        how: The value that comes out, or what the message says; a clause without a full stop.
    """
    return pytest.mark.brings(area, what, outcome, how)


@dataclass(frozen=True)
class Row:
    """One marked test."""

    area: str
    what: str
    outcome: str
    how: str


def _marks(path: Path) -> Iterator[Row]:
    """The marks of one file: decorators of tests, and marks of `pytest.param`."""
    text = path.read_text(encoding="utf-8")
    if "brings(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "brings":
            values = [ast.literal_eval(value) for value in node.args]
            yield Row(*values)


def page() -> str:
    """The whole page, from all tests."""
    rows = {row for path in (ROOT / "tests").rglob("test_*.py") for row in _marks(path)}
    parts = [HEAD]
    for area, title in TITLES.items():
        here = sorted((row for row in rows if row.area == area), key=lambda row: (row.outcome != "works", row.what))
        if not here:
            continue
        lines = [f"| {row.what} | {row.outcome} | {row.how} |" for row in here]
        parts.append("\n".join([f"\n## {title}", "| you bring | | what happens |", "| --- | --- | --- |", *lines, ""]))
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
