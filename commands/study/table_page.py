"""A study as one HTML page that needs nothing else: tables that sort themselves without a script, and pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ivif.commands.report.files import MARK
from ivif.commands.report.page_parts import Picture, embedded, newest_panels, template
from ivif.commands.study.table_scores import StudyScores
from ivif.commands.study.table_texts import Part
from ivif.files.text_tables import TextTable
from ivif.lightning_modules.efficiency import COLUMNS as COSTS

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?")

_SMALLER: Final = ("mean rank", *COSTS[:-1])
"""Columns without an arrow in which less is better."""


@dataclass(frozen=True)
class SortableTable:
    """A table of the page.

    Attributes:
        table: Its texts.
        places: For each row its place where the table is sorted by the first, second, ... column, best first.
        name: Of its switches on the page.
    """

    table: TextTable
    places: Sequence[Sequence[int]]
    name: str


def page(title: str, found: Sequence[Part], scores: StudyScores, figures: Mapping[str, Path]) -> str:
    """The page.

    Args:
        title: Its heading.
        found: The tables.
        scores: Whose tests have panels, and what is not in the tables.
        figures: Title -> picture of the whole study.
    """
    tables = []
    for index, part in enumerate(found):
        compared = None if part.compared is None else sortable(part.compared, f"d{index}")
        tables.append((part, sortable(part.table, f"t{index}", part.ours), compared))
    columns = max(len(own.table.columns) for _, own, _ in tables)
    pictures = [embedded(path, name) for name, path in figures.items()]
    return template("study_table.html").render(
        mark=MARK,
        title=title,
        tables=tables,
        columns=columns,
        notes=scores.notes,
        alike=scores.alike,
        figures=pictures,
        panels=_panels(scores),
    )


def sortable(table: TextTable, name: str, ours: int | None = None) -> SortableTable:
    """A table with the places of its rows by each column.

    Numbers go by the direction that the column's title points to (largest first without an arrow), the first column as
    it is given, other texts by the alphabet. What is no number comes last; so do rows that are not ours.

    Args:
        table: Its texts.
        name: Of its switches.
        ours: How many rows stand above those of others; None: all are ours.
    """
    rows = range(len(table.rows))
    places = [list(rows)]
    for index, column in enumerate(table.columns[1:], start=1):
        keys = [_key(row[index], column, number < (ours or len(rows))) for number, row in enumerate(table.rows)]
        order = sorted(rows, key=keys.__getitem__)
        places.append([order.index(row) for row in rows])
    return SortableTable(table, list(zip(*places, strict=True)), name)


def _key(text: str, column: str, ours: bool) -> tuple[bool, bool, float, str]:
    number = _NUMBER.match(text)
    downward = column.endswith("↓") or column.startswith(_SMALLER)
    value = float(number[0]) if number else 0.0
    return not ours, number is None, value if downward else -value, text


def _panels(scores: StudyScores) -> list[Picture]:
    """The pictures of each row's first run."""
    return [
        replace(picture, caption=f"{row}: {picture.caption}")
        for row, folders in scores.folders.items()
        for folder in folders
        for picture in newest_panels(folder)
    ]
