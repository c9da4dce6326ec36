"""Rows that papers print: numbers of others, which stand beside ours and are never mixed with them unasked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ivif.commands.errors import UsageError
from ivif.configs import CONFIGS
from ivif.files.plain_yaml import load_plain

FOLDER: Final = CONFIGS / "published"
"""Where the tables of the papers lie."""


@dataclass(frozen=True)
class PublishedTable:
    """A printed table, or the part of one that is about one dataset.

    Attributes:
        source: The paper.
        cited: The same in a few words.
        table: The table's number there.
        dataset: As our tables call it.
        images: How many pictures are scored; 0: not stated.
        convention: How our metrics come closest to its own.
        columns: Metrics; of a table of detection classes, `mean` for all of them.
        rows: Method -> a number for each column, digit for digit as it is printed.
    """

    source: str
    cited: str
    table: int
    dataset: str
    images: int
    convention: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]

    @property
    def said(self) -> str:
        """Where a row comes from, in a cell of a table."""
        return f"{self.cited}, table {self.table}"


def published_names() -> list[str]:
    """The papers whose tables are there."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_published(names: Sequence[str]) -> list[PublishedTable]:
    """The tables of papers.

    Args:
        names: Of `published_names`, or YAML files of the same form.

    Raises:
        UsageError: If there is no such paper, or a file is no list of tables.
    """
    tables = []
    for name in names:
        path = Path(name) if Path(name).suffix in (".yaml", ".yml") else FOLDER / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(published_names())
            raise UsageError(
                f"There are no published rows '{name}'. There are {known}; a file of your own ends in .yaml."
            )
        try:
            plain = load_plain(path)
            tables += [_table(plain, part) for part in plain["tables"]]
        except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"'{path}' is no list of published tables ({why}). Compare {FOLDER}.") from error
    return tables


def _table(paper: Mapping[str, Any], part: Mapping[str, Any]) -> PublishedTable:
    columns = tuple(part["columns"].split())
    rows = {str(name): tuple(str(line).split()) for name, line in part["rows"].items()}
    for name, values in rows.items():
        if len(values) != len(columns):
            raise ValueError(f"table {part['table']}, {name} has {len(values)} numbers for {len(columns)} columns")
        list(map(float, values))
    source, cited, convention = (str(paper[key]) for key in ("source", "cited", "convention"))
    images, dataset = int(part.get("images", 0)), str(part["dataset"])
    return PublishedTable(source, cited, int(part["table"]), dataset, images, convention, columns, rows)
