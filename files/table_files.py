"""Tables of results: as CSV files, read so that every name is the text that was written, and as texts to be read."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from ivif.files.text_output import cell, latex, markdown, quoted, unquoted
from ivif.files.whole import write_whole

TEXTS: Final = ("dataset", "method", "class", "name", "convention", "metric", "direction")
"""Columns that hold texts, in whatever table: a pair may be called `00000`, a class `NA`."""

_UNDEFINED: Final = ("", "nan")
"""What NaN is written as."""


def write_table(table: pd.DataFrame, path: Path, undefined: str = "") -> None:
    """Writes a CSV file, without the index, that is either complete or as before.

    A text that a spreadsheet would take for a formula gets a quote before it, which `read_table` takes away.

    Args:
        table: Its rows.
        path: The file; its folder is made.
        undefined: What stands for NaN, empty or `nan`.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {name: table[name].map(quoted) for name in table.columns if name in TEXTS}
    # Python leaves a carriage return bare, at which readers end the row
    bare = any("\r" in str(text) for column in texts.values() for text in column)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    write_whole(path, table.assign(**texts).to_csv(index=False, na_rep=undefined, quoting=quoting))


def read_table(path: Path) -> pd.DataFrame:
    """Reads such a table: `TEXTS` letter for letter, all other columns as numbers where they are numbers.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no CSV table.
    """
    columns = pd.read_csv(path, nrows=0).columns
    table = pd.read_csv(
        path,
        dtype={name: str for name in columns if name in TEXTS},
        keep_default_na=False,  # it takes `NA`, `null` and `None` for missing values, in columns of texts too
        na_values={name: list(_UNDEFINED) for name in columns if name not in TEXTS},
    )
    return table.assign(**{name: table[name].map(unquoted) for name in columns if name in TEXTS})


class Best(str):
    """A cell that is best in its column: bold."""

    __slots__ = ()


class Second(str):
    """A cell that is second in its column: underlined, where a format can."""

    __slots__ = ()


@dataclass(frozen=True)
class TextTable:
    """A table as it is read, whatever characters its names hold.

    Args:
        columns: What each column is called.
        rows: Texts, as many as there are columns; `Best` and `Second` are marked.
        title: What is said above it on the terminal and on a page.
        heads: How many cells name a row.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    heads: int = 1

    def markdown(self) -> str:
        """Its lines in Markdown, without the title."""
        lines = [map(markdown, self.columns), ["---"] * len(self.columns)]
        marks = [
            [f"**{markdown(text)}**" if isinstance(text, Best) else markdown(text) for text in row] for row in self.rows
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in (*lines, *marks))

    def latex(self) -> str:
        """The same as a `tabular`, which needs the package booktabs."""
        marks = {Best: "\\textbf", Second: "\\underline"}
        rows = [
            [f"{marks[type(text)]}{{{latex(text)}}}" if type(text) in marks else latex(text) for text in row]
            for row in self.rows
        ]
        head, *body = (f"{' & '.join(row)} \\\\" for row in (map(latex, self.columns), *rows))
        sides = "l" * self.heads + "r" * (len(self.columns) - self.heads)
        return "\n".join(
            [f"\\begin{{tabular}}{{{sides}}}", "\\toprule", head, "\\midrule", *body, "\\bottomrule", "\\end{tabular}"]
        )

    def show(self, console: Console) -> None:
        """Prints it."""
        table = Table(title=cell(self.title))
        for index, column in enumerate(self.columns):
            table.add_column(cell(column), justify="left" if index < self.heads else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(cell, row))
        console.print(table)
