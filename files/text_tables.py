"""Tables as they are read: in Markdown, in LaTeX, on a terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ivif.files.names import printable
from ivif.files.text_output import cell, latex, markdown


class Best(str):
    """A cell that is the best of its metric: bold, and on the terminal with a star."""

    __slots__ = ()


class Second(str):
    """A cell that is second in its metric: underlined, where a format can."""

    __slots__ = ()


def mark_best(cells: Sequence[str], values: Sequence[float], higher: bool) -> list[str]:
    """The cells of one metric, the best of them as `Best`; several where they are equal, none without another.

    Args:
        cells: What is shown of each method.
        values: Its value, rounded as it is shown; NaN: not to be compared with the others.
        higher: Whether more is better.
    """
    compared = [value for value in values if not math.isnan(value)]
    best = (max if higher else min)(compared) if len(compared) > 1 else None
    return [Best(text) if value == best else text for text, value in zip(cells, values, strict=True)]


def sizes_text(sizes: Iterable[tuple[int, int]]) -> str:
    """Sizes of pictures, (width, height) each, in a few words: `640x480`, or how many and the smallest and largest."""
    found = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    ends = [f"{width}x{height}" for width, height in (found[0], found[-1])] if found else ["-"]
    return f"{len(found)} sizes ({ends[0]} to {ends[1]})" if len(found) > 1 else ends[0]


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
        """Prints it: as wide as it is into a file; on a terminal too narrow for it as several tables below each other.

        No name is cut: one that alone is wider than the terminal is folded.
        """
        width = console.width
        if not console.is_terminal:
            console.width = width = max(width, 1 + sum(map(self._width, range(len(self.columns)))))
        for columns in self._parts(width):
            console.print(cell(self.title), style="italic", soft_wrap=True, highlight=False)
            console.print(self._drawn(columns))

    def _drawn(self, columns: Sequence[int]) -> Table:
        marked = any(isinstance(row[index], Best) for row in self.rows for index in columns)
        table = Table(caption="* best" if marked else None)
        for index in columns:
            justify: Literal["left", "right"] = "left" if index < self.heads else "right"
            table.add_column(cell(self.columns[index]), justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*(_starred(row[index]) for index in columns))
        return table

    def _parts(self, width: int) -> Iterator[list[int]]:
        """Columns that fit beside those that name a row, in their order; at least one each time."""
        heads = list(range(self.heads))
        part = list(heads)
        for index in range(self.heads, len(self.columns)):
            if len(part) > len(heads) and 1 + sum(map(self._width, (*part, index))) > width:
                yield part
                part = list(heads)
            part.append(index)
        yield part

    def _width(self, column: int) -> int:
        """Characters that a column takes with its padding and one border."""
        shown = (self.columns[column], *(_starred(row[column]).plain for row in self.rows))
        return max(cell_len(printable(text)) for text in shown) + 3


def _starred(text: str) -> Text:
    return Text.assemble(cell(text), "*", style="bold") if isinstance(text, Best) else cell(text)
