"""Result tables: methods as rows, metrics as columns, one block per dataset and one overall."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ivif.files.table_files import write_table
from ivif.files.text_output import cell, markdown_row
from ivif.files.whole import write_whole
from ivif.metrics.fusion import FusionMetrics
from ivif.metrics.registry import METRICS

OVERALL = "all"
"""Name of the block that averages over every image of every dataset."""


class ResultTable:
    """Gathers the scores of several methods on the same images.

    Args:
        convention: Convention that the scores follow; every table prints it.
        scores: Method -> its scores; with DDP, building the table gathers them from all ranks.
    """

    def __init__(self, convention: str, scores: Mapping[str, FusionMetrics]) -> None:
        self.convention = convention
        rows = [{"method": method, **row} for method, metric in scores.items() for row in metric.per_image()]
        self.per_image = pd.DataFrame(rows)
        self.metrics = [name for name in self.per_image.columns if name not in ("method", "dataset", "name")]
        self.summary = self._summarise()

    def _summarise(self) -> pd.DataFrame:
        blocks = [(dataset, rows) for dataset, rows in self.per_image.groupby("dataset", sort=False)]
        if len(blocks) > 1:
            blocks.append((OVERALL, self.per_image))
        records = []
        for dataset, rows in blocks:
            for method, own in rows.groupby("method", sort=False):
                record: dict[str, object] = {"dataset": dataset, "method": method, "n": len(own)}
                record |= {metric: own[metric].mean() for metric in self.metrics}
                record["undefined"] = int(own[self.metrics].isna().sum().sum())
                record |= {f"n_{metric}": int(own[metric].notna().sum()) for metric in self.metrics}
                records.append(record)
        return pd.DataFrame(records)

    def show(self, console: Console | None = None) -> None:
        """Prints one table per dataset, metrics as rows so that it fits a terminal.

        No best figure is marked, for no single metric is a verdict.
        """
        console = console or Console()
        for dataset, rows in self.summary.groupby("dataset", sort=False):
            title = f"{dataset}: means over {rows['n'].max()} images, convention '{self.convention}'"
            table = Table(title=cell(title))
            table.add_column("metric")
            for method in rows["method"]:
                table.add_column(cell(method), justify="right")
            for metric in self.metrics:
                table.add_row(with_direction(metric), *(_mean(row, metric) for row in rows.to_dict("records")))
            table.add_row("undefined values", *map(str, rows["undefined"]))
            console.print(table)

    def write(self, folder: Path, stem: str) -> None:
        """Writes `<stem>.csv`, `<stem>.md` and `<stem>_per_image.csv`, each complete or as before."""
        write_table(self.summary.assign(convention=self.convention), folder / f"{stem}.csv")
        write_table(self.per_image, folder / f"{stem}_per_image.csv")
        write_whole(folder / f"{stem}.md", self.markdown())

    def markdown(self) -> str:
        """The summary as a Markdown table."""
        columns = ["dataset", "method", *self.metrics, "n", "undefined"]
        titles = [with_direction(name) if name in self.metrics else name for name in columns]
        lines = [markdown_row(titles), "|" + "|".join(" --- " for _ in columns) + "|"]
        for record in self.summary.to_dict("records"):
            cells = [_mean(record, name) if name in self.metrics else str(record[name]) for name in columns]
            lines.append(markdown_row(cells))
        return (
            f"Convention `{self.convention}`; undefined values are left out of the means.\n\n" + "\n".join(lines) + "\n"
        )


def _mean(record: Mapping[Hashable, Any], metric: str) -> str:
    """A mean, with the number of images that it is over where that is not all of them."""
    count = record[f"n_{metric}"]
    return f"{record[metric]:.4f}" + (f" (n={count})" if count < record["n"] else "")


def with_direction(metric: str) -> str:
    """A metric's name with an arrow that points to better."""
    return f"{metric} {'↑' if METRICS[metric].higher_is_better else '↓'}"
