"""What the pages name is there: files, headings, and parts of `ivif`; nothing is imported for it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.inputs import PAGE, page
from tests.test_architecture import ALLOWED, GROUND, ROOMS

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = [
    path
    for pattern in ("*.md", "docs/*.md", "models/*/README.md", "notebooks/README.md")
    for path in sorted(ROOT.glob(pattern))
]
FOLDERS: Final = frozenset(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
TOP: Final = ("commands", "testing")
"""Rooms that may import all others."""
MADE: Final = ("runs", ".cache")
"""Folders that commands make."""

_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_NAME: Final = re.compile(r"\bivif(?:\.\w+)+")
_PATH: Final = re.compile(r"[\w./*-]+")
_PLACEHOLDER: Final = re.compile(r"foo|[A-Z]{3,}(?!\w*\.md)|\.\.\.|<")
"""`foo`, `NAME`, `<name>`: what a reader puts something else in the place of."""


def _prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _missing_links(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@cache
def _anchors(page: Path) -> frozenset[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)


def _missing_files(page: Path) -> Iterator[str]:
    for code in _CODE.findall(_prose(page)):
        for token in _PATH.findall(code):
            first = token.partition("/")[0]
            if "/" not in token or first not in FOLDERS or first in MADE or _PLACEHOLDER.search(code):
                continue
            if not any(ROOT.glob(token.rstrip("/."))):
                yield token


def _missing_names(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    yield from (name for name in dict.fromkeys(_NAME.findall(text)) if not is_there(name) and "foo" not in name)


def is_there(name: str) -> bool:
    """Whether a dotted name is a module of the package, or is defined in one, or in a class there."""
    parts = name.split(".")[1:]
    folder = ROOT / "ivif" if parts[0] in _defined(ROOT / "ivif" / "__init__.py") else ROOT
    while parts and (folder / parts[0]).is_dir():
        folder = folder / parts.pop(0)
    if parts and (folder / f"{parts[0]}.py").is_file():
        return _defines(folder / f"{parts[0]}.py", parts[1:])
    return not parts or ((folder / "__init__.py").is_file() and _defines(folder / "__init__.py", parts))


def _defines(module: Path, names: list[str]) -> bool:
    """Whether a module has such a name, or a class of it such a member (an inherited one counts)."""
    defined = _defined(module)
    if not names or len(names) > 2:
        return not names
    node = defined.get(names[0])
    if len(names) == 1 or not isinstance(node, ast.ClassDef):
        return node is not None
    return bool(node.bases) or any(names[1] in _targets(member) for member in node.body)


@cache
def _defined(module: Path) -> dict[str, ast.AST]:
    body = list(ast.parse(module.read_text(encoding="utf-8")).body)
    for node in body:  # `if TYPE_CHECKING:` and its like
        body += [*node.body, *node.orelse] if isinstance(node, ast.If) else []
    return {name: node for node in body for name in _targets(node)}


def _targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    assert [*_missing_links(page), *_missing_files(page), *_missing_names(page)] == []


def test_the_drawing_of_the_rooms_is_that_of_the_rules() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    arrows = re.findall(r"^ +(\w+) --> (.+)$", page, flags=re.MULTILINE)
    drawn = {(room, target) for room, targets in arrows for target in targets.split(" & ")}
    rules = {(room, entry.partition(".")[0]) for room, entries in ALLOWED.items() for entry in entries}
    assert {edge for edge in drawn if edge[0] not in TOP} == {
        edge for edge in rules if edge[0] not in TOP and not {*edge} & {*GROUND}
    }
    assert {room for edge in drawn for room in edge} | {*GROUND} == {*ROOMS} - {"benchmarks", "scripts"}


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("ivif.load", True),
        ("ivif.unload", False),
        ("ivif.metrics", True),
        ("ivif.metrics.METRICS", True),
        ("ivif.metrics.registry.METRICS", True),
        ("ivif.metrics.registry.METRIX", False),
        ("ivif.metrics.registri", False),
        ("ivif.lightning_modules.base.FusionTask.fuse", True),
        ("ivif.rooms.nothing", False),
    ],
)
def test_a_name_that_is_not_there_is_seen(name: str, there: bool) -> None:
    assert is_there(name) == there


def test_a_file_that_is_not_there_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title\n`metrics/none.py`, `metrics/fusion.py`, `runs/x`, `models/foo/`, `FOLDER/x`, [a](b.md), "
        "[c](#a-title), [d](#none) `ivif.metrics.nothing`\n```\nmetrics/none.py\n```\n",
        encoding="utf-8",
    )
    found = [*_missing_links(page), *_missing_files(page), *_missing_names(page)]
    assert found == ["b.md", "#none", "metrics/none.py", "ivif.metrics.nothing"]


def test_the_page_of_inputs_is_what_its_tests_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.inputs"
